package control

import (
	"os"
	"testing"

	"tunnelmark/lab/labtest"
)

func TestMemoryState(t *testing.T) {
	labtest.NeedRoot(t)
	memory, err := NewMemoryState()
	must(t, err)
	dir := memory.Dir()
	first, second := mustIdentity(t, dir), mustIdentity(t, dir)
	if first.Fingerprint() != second.Fingerprint() {
		t.Error("the identity was not kept")
	}
	token := mustIssue(t, mustTokens(t, dir), maxTokenLife)
	must(t, mustTokens(t, dir).Redeem(token.secret[:]))
	must(t, memory.Close())
	if _, err := os.Stat(dir + "/" + identityFile); err == nil {
		t.Error("the state is still there after Close")
	}
}
