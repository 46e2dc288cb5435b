package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// PerCPU says whether this kernel has SAs for single CPUs (Linux 6.13; RFC 9611),
// with which one tunnel can use several cores. It tries in a namespace of its own.
// A kernel without ESP is an error that wraps tunnel.ErrNotSupported.
func PerCPU() (bool, error) {
	namespace, err := tunnel.NewNamespace()
	if err != nil {
		return false, fmt.Errorf("ask for SAs of single CPUs: %w", err)
	}
	defer func() { _ = namespace.Close() }()
	has, err := tryPerCPU(namespace)
	if err != nil {
		return false, fmt.Errorf("ask for SAs of single CPUs: %w", err)
	}
	return has, nil
}

// tryPerCPU adds an SA for CPU 0 and reads it back: kernels that do not know the
// attribute ignore it.
func tryPerCPU(namespace *tunnel.Namespace) (bool, error) {
	a := association{examplePlan(), tunnel.Receive}
	if err := tryState(namespace, a.plan); err != nil {
		return false, err
	}
	k, err := openKernel(namespace, unix.NETLINK_XFRM)
	if err != nil {
		return false, err
	}
	defer k.close()
	a.localSPI++
	m := a.message(make([]byte, 20))
	m.attribute(nl.XFRMA_SA_DIR, []byte{1}) // Inbound; the kernel wants it said.
	m.number(nl.XFRMA_SA_PCPU, 0)
	if _, err := k.request(nl.XFRM_MSG_NEWSA, create, m, 0); err != nil {
		return false, err
	}
	answers, err := k.request(nl.XFRM_MSG_GETSA, act, a.id(), nl.XFRM_MSG_NEWSA)
	if err != nil {
		return false, err
	}
	defer clearAll(answers)
	return hasAttribute(answers, nl.SizeofXfrmUsersaInfo, nl.XFRMA_SA_PCPU)
}

func hasAttribute(answers [][]byte, head, kind int) (bool, error) {
	if len(answers) == 0 || len(answers[0]) < head {
		return false, errors.New("the kernel's answer is too short")
	}
	attributes, err := nl.ParseRouteAttr(answers[0][head:])
	for _, attribute := range attributes {
		if int(attribute.Attr.Type) == kind {
			return true, nil
		}
	}
	return false, err
}

// examplePlan is of the commonest kind.
func examplePlan() plan {
	return plan{
		algorithms: suites[0],
		local:      netip.MustParseAddrPort("192.0.2.1:4500"), remote: netip.MustParseAddrPort("192.0.2.2:4500"),
		localSPI: leastSPI, remoteSPI: leastSPI,
		window: 32, lifetime: time.Minute,
	}
}
