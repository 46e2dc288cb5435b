package lab

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// newClearDF loads a program that clears "don't fragment" in the IPv4 header (RFC
// 791, Section 3.1) of packets that are larger than the MTU. It draws an
// identification for them, too, which packets that are not to be fragmented need not
// have (RFC 6864, Section 4.1): fragments of different packets could not be told
// apart.
func newClearDF(mtu int) (*ebpf.Program, error) {
	const (
		etherType      = 12
		ip             = ethernetHeader
		identification = ip + 4 // 16 bits of it, three flags, 13 bits of offset
		checksum       = ip + 10
		dontFragment   = 1 << 14
		next           = -1 // TC_ACT_UNSPEC
	)
	return loadProgram("cleardf", asm.Instructions{
		// Loads relative to the packet take the context from r6.
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R0, asm.R6, skbLength, asm.Word),
		asm.JLE.Imm(asm.R0, int32(ethernetHeader+mtu), "pass"),
		asm.LoadAbs(etherType, asm.Half),
		asm.JNE.Imm(asm.R0, unix.ETH_P_IP, "pass"),
		asm.LoadAbs(identification, asm.Word), // in this machine's order
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.And.Imm(asm.R0, 0xffff),
		asm.JNE.Imm(asm.R0, dontFragment, "pass"), // nor is it a fragment

		asm.FnGetPrandomU32.Call(),
		asm.LSh.Imm32(asm.R0, 16),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.HostTo(asm.BE, asm.R7, asm.Word),
		asm.HostTo(asm.BE, asm.R8, asm.Word),
		asm.StoreMem(asm.RFP, -4, asm.R8, asm.Word),

		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, checksum),
		asm.Mov.Reg(asm.R3, asm.R7),
		asm.Mov.Reg(asm.R4, asm.R8),
		asm.Mov.Imm(asm.R5, 4), // bytes that change
		asm.FnL3CsumReplace.Call(),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, identification),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 4),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),

		asm.Mov.Imm(asm.R0, next).WithSymbol("pass"),
		asm.Return(),
	})
}
