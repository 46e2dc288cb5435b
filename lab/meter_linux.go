package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// meter is a traffic-control program that counts IP packets, and drops those that
// a token bucket does not hold. The program lives on in the filter that it is
// attached by, and the state in the program.
type meter struct {
	state   *ebpf.Map
	program *ebpf.Program
}

// meterState is the value in the meter's map, laid out as in stateType.
type meterState struct {
	Lock           uint32 // struct bpf_spin_lock
	_              uint32
	Last           uint64 // ns of CLOCK_MONOTONIC at the last refill
	Credit         uint64 // bucket's level, fixed point
	PassedPackets  uint64
	PassedBytes    uint64
	DroppedPackets uint64
	DroppedBytes   uint64
}

// programPrefix begins the name of every program that a lab loads, which ends in
// the process id, so that bpftool and the leak check know them.
const programPrefix = "tm_"

// newMeter loads a meter whose bucket is full.
func newMeter(b bucket) (*meter, error) {
	state, err := ebpf.NewMap(&ebpf.MapSpec{
		Name:       "tm_meter",
		Type:       ebpf.Array,
		KeySize:    4,
		ValueSize:  uint32(unsafe.Sizeof(meterState{})),
		MaxEntries: 1,
		Key:        &btf.Int{Name: "key", Size: 4},
		Value:      stateType(),
	})
	if err != nil {
		return nil, fmt.Errorf("create meter map: %w", err)
	}
	if err := state.Put(uint32(0), &meterState{Credit: b.capacity}); err != nil {
		return nil, errors.Join(fmt.Errorf("fill token bucket: %w", err), state.Close())
	}
	program, err := loadProgram("meter", meterInstructions(state.FD(), b))
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	return &meter{state: state, program: program}, nil
}

// read returns the state as it was between two packets.
func (m *meter) read() (meterState, error) {
	var state meterState
	if err := m.state.LookupWithFlags(uint32(0), &state, ebpf.LookupLock); err != nil {
		return meterState{}, fmt.Errorf("read meter: %w", err)
	}
	return state, nil
}

// stateType describes meterState to the kernel, which must know where the lock is.
func stateType() btf.Type {
	u32 := &btf.Int{Name: "u32", Size: 4}
	u64 := &btf.Int{Name: "u64", Size: 8}
	lock := &btf.Struct{Name: "bpf_spin_lock", Size: 4, Members: []btf.Member{{Name: "val", Type: u32}}}
	members := []btf.Member{{Name: "lock", Type: lock}}
	names := []string{"last", "credit", "passed_packets", "passed_bytes", "dropped_packets", "dropped_bytes"}
	for i, name := range names {
		const bits = 64
		members = append(members, btf.Member{Name: name, Type: u64, Offset: btf.Bits((1 + i) * bits)})
	}
	return &btf.Struct{Name: "tm_meter", Size: uint32(unsafe.Sizeof(meterState{})), Members: members}
}

// meterInstructions is the program: refill by the time since the last packet, then
// pass or drop.
//
//	r6 context, r7 state, r8 outer IP bytes, r9 now
func meterInstructions(state int, b bucket) asm.Instructions {
	const drop, unspecified = 2, -1 // TC_ACT_SHOT, TC_ACT_UNSPEC: the next filter decides
	var s meterState
	at := func(offset uintptr) int16 { return int16(offset) }
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R0, asm.R6, skbProtocol, asm.Word),
		asm.JEq.Imm(asm.R0, networkOrder(unix.ETH_P_IP), "count"),
		asm.JNE.Imm(asm.R0, networkOrder(unix.ETH_P_IPV6), "next filter"),

		asm.LoadMem(asm.R8, asm.R6, skbLength, asm.Word).WithSymbol("count"),
		asm.Sub.Imm(asm.R8, ethernetHeader),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, state),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "next filter"), // never: an array has its entry
		asm.Mov.Reg(asm.R7, asm.R0),

		// The clock may not be read under the lock, so another core may have refilled
		// later than now: then there is nothing to refill.
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSpinLock.Call(),
		asm.LoadMem(asm.R2, asm.R7, at(unsafe.Offsetof(s.Last)), asm.DWord),
		asm.JGE.Reg(asm.R2, asm.R9, "spend"),
		asm.StoreMem(asm.R7, at(unsafe.Offsetof(s.Last)), asm.R9, asm.DWord),
		asm.Sub.Reg(asm.R9, asm.R2),
		asm.LoadImm(asm.R3, int64(b.capacity), asm.DWord),
		// A wait that fills the bucket anyhow must not overflow the shift.
		asm.LoadImm(asm.R4, int64(b.capacity>>fractionBits), asm.DWord),
		asm.JGT.Reg(asm.R9, asm.R4, "refill"),
		asm.LSh.Imm(asm.R9, fractionBits),
		asm.LoadMem(asm.R4, asm.R7, at(unsafe.Offsetof(s.Credit)), asm.DWord),
		asm.Add.Reg(asm.R4, asm.R9),
		asm.JGT.Reg(asm.R4, asm.R3, "refill"),
		asm.Mov.Reg(asm.R3, asm.R4),
		asm.StoreMem(asm.R7, at(unsafe.Offsetof(s.Credit)), asm.R3, asm.DWord).WithSymbol("refill"),

		asm.LoadImm(asm.R2, int64(b.perByte), asm.DWord).WithSymbol("spend"),
		asm.Mul.Reg(asm.R2, asm.R8),
		asm.LoadImm(asm.R3, int64(b.perPacket), asm.DWord),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R3, asm.R7, at(unsafe.Offsetof(s.Credit)), asm.DWord),
		asm.JGT.Reg(asm.R2, asm.R3, "drop"),
		asm.Sub.Reg(asm.R3, asm.R2),
		asm.StoreMem(asm.R7, at(unsafe.Offsetof(s.Credit)), asm.R3, asm.DWord),
	}
	program = append(program, countInstructions(at(unsafe.Offsetof(s.PassedPackets)), at(unsafe.Offsetof(s.PassedBytes)))...)
	program = append(program,
		asm.Mov.Imm(asm.R0, unspecified).WithSymbol("next filter"),
		asm.Return(),
	)
	dropped := countInstructions(at(unsafe.Offsetof(s.DroppedPackets)), at(unsafe.Offsetof(s.DroppedBytes)))
	dropped[0] = dropped[0].WithSymbol("drop")
	program = append(program, dropped...)
	return append(program, asm.Mov.Imm(asm.R0, drop), asm.Return())
}

// countInstructions adds the packet to two counters and gives the lock back.
func countInstructions(packets, bytes int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R3, asm.R7, packets, asm.DWord),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(asm.R7, packets, asm.R3, asm.DWord),
		asm.LoadMem(asm.R3, asm.R7, bytes, asm.DWord),
		asm.Add.Reg(asm.R3, asm.R8),
		asm.StoreMem(asm.R7, bytes, asm.R3, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSpinUnlock.Call(),
	}
}

// Offsets in struct __sk_buff (include/uapi/linux/bpf.h).
const (
	skbLength   = 0
	skbProtocol = 16
)

// ethernetHeader is what a packet is longer by at a traffic-control hook.
const ethernetHeader = 14

func loadProgram(name string, instructions asm.Instructions) (*ebpf.Program, error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         fmt.Sprintf("%s%.4s_%d", programPrefix, name, os.Getpid()),
		Type:         ebpf.SchedCLS,
		Instructions: instructions,
		License:      "MIT",
	})
	if err != nil {
		return nil, fmt.Errorf("load %s program: %w", name, err)
	}
	return program, nil
}

// networkOrder returns a 16-bit number as the kernel holds it in network order.
func networkOrder(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}
