package strongswan

import (
	"context"
	"strings"
	"testing"

	"tunnelmark/lab/labtest"
	"tunnelmark/tunnel"
)

// A private key is the user's own: no copy stays in this process, however charon
// starts.
func TestFilesAreCleared(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.CheckLeaks(t)
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = namespace.Close() }()
	key := []byte("a private key")
	files := map[string][]byte{privateDirectory + "/key.pem": key}
	_, err = startCharon(context.Background(), programs{charon: "/bin/false"}, namespace, daemon{}, files)
	if err == nil || !strings.Contains(err.Error(), "charon has ended") {
		t.Errorf("got %v, want that charon has ended", err)
	}
	if strings.Trim(string(key), "\x00") != "" {
		t.Errorf("%q is still in memory", key)
	}
}
