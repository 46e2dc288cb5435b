package esp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tunnelmark/tunnel/overhead"
)

// controlMessage returns one control message as the kernel writes it.
func controlMessage(level, kind int32, value []byte) []byte {
	data := make([]byte, unix.CmsgSpace(len(value)))
	header := unix.Cmsghdr{Level: level, Type: kind}
	header.SetLen(unix.CmsgLen(len(value)))
	copy(data, (*[unix.SizeofCmsghdr]byte)(unsafe.Pointer(&header))[:])
	copy(data[unix.CmsgLen(0):], value)
	return data
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func TestReadControls(t *testing.T) {
	segments := controlMessage(unix.SOL_UDP, unix.UDP_GRO, native32(1464))
	class4 := controlMessage(unix.SOL_IP, unix.IP_TOS, []byte{0xb9})
	class6 := controlMessage(unix.SOL_IPV6, unix.IPV6_TCLASS, native32(0xb9))
	other := controlMessage(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, native32(7))
	endless := bytes.Clone(segments)
	binary.NativeEndian.PutUint64(endless, 0)
	long := bytes.Clone(segments)
	binary.NativeEndian.PutUint64(long, 1<<40)
	tests := []struct {
		name  string
		data  []byte
		size  int
		class byte
	}{
		{"none", nil, 0, 0},
		{"segments", segments, 1464, 0},
		{"class of IPv4", class4, 0, 0xb9},
		{"class of IPv6", class6, 0, 0xb9},
		{"both", concat(segments, class4), 1464, 0xb9},
		{"both, the other way round", concat(class6, segments), 1464, 0xb9},
		{"another between them", concat(segments, other, class4), 1464, 0xb9},
		{"the second is cut", concat(segments, class4[:16]), 1464, 0},
		{"half a header behind", concat(class4, segments[:8]), 0, 0xb9},
		{"length 0", concat(endless, class4), 0, 0},
		{"longer than all", concat(long, class4), 0, 0},
		{"size of two bytes", controlMessage(unix.SOL_UDP, unix.UDP_GRO, []byte{1, 2}), 0, 0},
		{"negative size", controlMessage(unix.SOL_UDP, unix.UDP_GRO, native32(1<<31)), 0, 0},
		{"no class", controlMessage(unix.SOL_IP, unix.IP_TOS, nil), 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if size, class := readControls(test.data); size != test.size || class != test.class {
				t.Errorf("got size %d and class %#x, want %d and %#x", size, class, test.size, test.class)
			}
		})
	}
}

// What attach writes, readControls would read: both know the same layout.
func TestSendControl(t *testing.T) {
	tests := []struct {
		size   int
		class  byte
		length int
	}{
		{0, 0, 0},
		{1464, 0, unix.CmsgSpace(2)},
		{0, 0xb9, unix.CmsgSpace(4)},
		{1464, 0xb9, unix.CmsgSpace(2) + unix.CmsgSpace(4)},
	}
	for _, version := range []overhead.IPVersion{overhead.IPv4, overhead.IPv6} {
		for _, test := range tests {
			var control sendControl
			var header unix.Msghdr
			control.prepare(version)
			control.attach(&header, test.size, test.class)
			if int(header.Controllen) != test.length {
				t.Errorf("%+v: %d bytes", test, header.Controllen)
				continue
			}
			data := unsafe.Slice(header.Control, header.Controllen)
			if _, class := readControls(data); class != test.class {
				t.Errorf("%+v: class %#x", test, class)
			}
			if test.size > 0 && (control.segment.size != 1464 || header.Control != (*byte)(unsafe.Pointer(&control.segment))) {
				t.Errorf("%+v: segment size %d", test, control.segment.size)
			}
		}
	}
}

// Whatever bytes there are: the walk ends, and what comes first is read.
func FuzzReadControls(f *testing.F) {
	f.Add([]byte{}, uint16(1464), byte(1))
	f.Add(controlMessage(unix.SOL_IP, unix.IP_TOS, []byte{3}), uint16(0), byte(0))
	f.Add(make([]byte, 100), uint16(1), byte(0xff))
	f.Fuzz(func(t *testing.T, data []byte, size uint16, class byte) {
		if got, _ := readControls(data); got < 0 {
			t.Errorf("size %d", got)
		}
		head := concat(controlMessage(unix.SOL_UDP, unix.UDP_GRO, native32(uint32(size))),
			controlMessage(unix.SOL_IP, unix.IP_TOS, []byte{class}))
		head = append(head, data[:min(len(data), unix.CmsgLen(0)-1)]...)
		if gotSize, gotClass := readControls(head); gotSize != int(size) || gotClass != class {
			t.Errorf("got size %d and class %d, want %d and %d", gotSize, gotClass, size, class)
		}
	})
}
