package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tunnelmark/tunnel"
)

// association is one SA of a plan (RFC 4301, Section 4.1): what is sent goes to
// the peer's SPI, what is received comes to ours.
type association struct {
	plan
	direction tunnel.Direction
}

// ends are the outer addresses and ports, and the SPI, which is the receiver's.
func (a association) ends() (source, destination netip.AddrPort, spi uint32) {
	if a.direction == tunnel.Send {
		return a.local, a.remote, a.remoteSPI
	}
	return a.remote, a.local, a.localSPI
}

// addState installs the SA. The copies of the key that are ours are cleared.
func (k *kernel) addState(a association, material []byte) error {
	m := a.message(material)
	defer clear(m.bytes)
	_, err := k.request(nl.XFRM_MSG_NEWSA, create, m, 0)
	source, destination, spi := a.ends()
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add SA from %s to %s: SPI %#x is in use on this host; open another session: %w", source, destination, spi, err)
	}
	if err != nil {
		return fmt.Errorf("add SA from %s to %s: %w", source, destination, err)
	}
	return nil
}

// message is the body of XFRM_MSG_NEWSA (include/uapi/linux/xfrm.h).
func (a association) message(material []byte) *message {
	m := newMessage(a.head().Serialize())
	a.addAlgorithms(m, material)
	m.attribute(nl.XFRMA_REPLAY_ESN_VAL, a.replayState())
	if a.udp {
		m.attribute(nl.XFRMA_ENCAP, a.encapsulation())
	}
	a.scope.add(m)
	return m
}

func (a association) head() *nl.XfrmUsersaInfo {
	source, destination, spi := a.ends()
	head := &nl.XfrmUsersaInfo{
		Id:     nl.XfrmId{Daddr: kernelAddress(destination.Addr()), Spi: big32(spi), Proto: unix.IPPROTO_ESP},
		Saddr:  kernelAddress(source.Addr()),
		Lft:    lifetime(a.lifetime),
		Reqid:  a.request(),
		Family: family(destination.Addr()),
		Mode:   a.mode(),
	}
	if !a.transport {
		// Inner packets of both IP versions: else only those of the outer one.
		head.Flags |= nl.XFRM_STATE_AF_UNSPEC
	}
	if !a.noESN {
		head.Flags |= nl.XFRM_STATE_ESN
	}
	return head
}

func (p plan) mode() uint8 {
	if p.transport {
		return uint8(netlink.XFRM_MODE_TRANSPORT)
	}
	return uint8(netlink.XFRM_MODE_TUNNEL)
}

// lifetime is a hard limit of time and no other, in whole seconds.
func lifetime(d time.Duration) nl.XfrmLifetimeCfg {
	return nl.XfrmLifetimeCfg{
		SoftByteLimit: nl.XFRM_INF, HardByteLimit: nl.XFRM_INF,
		SoftPacketLimit: nl.XFRM_INF, HardPacketLimit: nl.XFRM_INF,
		HardAddExpiresSeconds: seconds(d),
	}
}

func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }

// algorithmName is the kernel's fixed field.
const algorithmName = 64

// addAlgorithms gives the kernel the key material in its parts. An AEAD's salt
// stays behind its key (RFC 4106, Section 8.1; RFC 7634, Section 2).
func (a association) addAlgorithms(m *message, material []byte) {
	lengths, err := a.suite.Transform()
	if err != nil {
		panic("internal error: a plan's suite is unknown")
	}
	bits := func(bytes int) uint32 { return uint32(bytes * 8) }
	name := func(s string) []byte { return append([]byte(s), make([]byte, algorithmName-len(s))...) }
	cipherKey, integrityKey := material[:lengths.Key+lengths.Salt], material[lengths.Key+lengths.Salt:]
	if a.integrity == "" {
		// struct xfrm_algo_aead: name, key length, ICV length, key.
		m.attribute(nl.XFRMA_ALG_AEAD, name(a.cipher), native32(bits(len(cipherKey)), bits(lengths.ICV)), cipherKey)
		return
	}
	// struct xfrm_algo: name, key length, key.
	m.attribute(nl.XFRMA_ALG_CRYPT, name(a.cipher), native32(bits(len(cipherKey))), cipherKey)
	// struct xfrm_algo_auth: name, key length, ICV length, key.
	m.attribute(nl.XFRMA_ALG_AUTH_TRUNC, name(a.integrity), native32(bits(len(integrityKey)), bits(lengths.ICV)), integrityKey)
}

// replayState is struct xfrm_replay_state_esn: words of bitmap, sequence numbers,
// window, bitmap. The kernel takes it without ESN, too, where its older form would
// end at a window of 32.
func (a association) replayState() []byte {
	words := (a.window + 31) / 32
	return append(native32(uint32(words), 0, 0, 0, 0, uint32(a.window)), make([]byte, words*4)...)
}

// encapsulation is struct xfrm_encap_tmpl for RFC 3948.
func (a association) encapsulation() []byte {
	source, destination, _ := a.ends()
	return (&nl.XfrmEncapTmpl{
		EncapType:  unix.UDP_ENCAP_ESPINUDP,
		EncapSport: big16(source.Port()),
		EncapDport: big16(destination.Port()),
	}).Serialize()
}

// add says for which packets an SA or a policy is.
func (s scope) add(m *message) {
	if s.mask != 0 {
		m.attribute(nl.XFRMA_MARK, native32(s.mark, s.mask))
	}
	if s.ifID != 0 {
		m.number(nl.XFRMA_IF_ID, s.ifID)
	}
}

// state is what the kernel says of an SA, its keys excepted.
type state struct {
	request uint32
	curlft  nl.XfrmLifetimeCur
	stats   nl.XfrmStats
}

// getState reads the SA; one that has expired is an error that wraps
// unix.ESRCH.
func (k *kernel) getState(a association) (state, error) {
	answers, err := k.request(nl.XFRM_MSG_GETSA, act, a.id(), nl.XFRM_MSG_NEWSA)
	if err != nil {
		return state{}, err
	}
	return readState(answers)
}

// readState takes the head of the first answer, and clears them all: the
// kernel sends the keys along.
func readState(answers [][]byte) (state, error) {
	defer clearAll(answers)
	if len(answers) == 0 || len(answers[0]) < nl.SizeofXfrmUsersaInfo {
		return state{}, errors.New("the kernel's answer is too short")
	}
	head := nl.DeserializeXfrmUsersaInfo(answers[0])
	return state{head.Reqid, head.Curlft, head.Stats}, nil
}

func clearAll(answers [][]byte) {
	for _, answer := range answers {
		clear(answer)
	}
}

// deleteState removes our SA; one that has expired, or whose place another has
// taken since, is left alone.
func (k *kernel) deleteState(a association) error {
	s, err := k.getState(a)
	if err == nil && s.request == a.request() {
		_, err = k.request(nl.XFRM_MSG_DELSA, act, a.id(), 0)
	}
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("remove SA: %w", err)
}

func (a association) id() *message {
	source, destination, spi := a.ends()
	m := newMessage((&nl.XfrmUsersaId{
		Daddr:  kernelAddress(destination.Addr()),
		Spi:    big32(spi),
		Family: family(destination.Addr()),
		Proto:  unix.IPPROTO_ESP,
	}).Serialize())
	address := kernelAddress(source.Addr())
	m.attribute(nl.XFRMA_SRCADDR, address[:])
	a.scope.add(m)
	return m
}
