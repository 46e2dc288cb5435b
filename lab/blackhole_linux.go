package lab

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// newBlackhole loads a program that drops ICMP "fragmentation needed" (RFC 792,
// type 3 code 4) and ICMPv6 "packet too big" (RFC 4443, Section 3.2, type 2).
func newBlackhole() (*ebpf.Program, error) {
	const (
		etherType = 12
		ip        = ethernetHeader
		drop      = 2  // TC_ACT_SHOT
		next      = -1 // TC_ACT_UNSPEC
	)
	return loadProgram("blackhole", asm.Instructions{
		// Loads relative to the packet take the context from r6, and end the program
		// with TC_ACT_OK where the packet is shorter.
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadAbs(etherType, asm.Half),
		asm.JEq.Imm(asm.R0, unix.ETH_P_IPV6, "ipv6"),
		asm.JNE.Imm(asm.R0, unix.ETH_P_IP, "pass"),

		asm.LoadAbs(ip+9, asm.Byte), // protocol
		asm.JNE.Imm(asm.R0, unix.IPPROTO_ICMP, "pass"),
		asm.LoadAbs(ip, asm.Byte), // version and header length in words
		asm.And.Imm(asm.R0, 0x0f),
		asm.LSh.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.LoadInd(asm.R0, asm.R7, ip, asm.Half),
		asm.JEq.Imm(asm.R0, 3<<8|4, "drop"), // type and code
		asm.Ja.Label("pass"),

		asm.LoadAbs(ip+6, asm.Byte).WithSymbol("ipv6"), // next header
		asm.JNE.Imm(asm.R0, unix.IPPROTO_ICMPV6, "pass"),
		asm.LoadAbs(ip+40, asm.Byte), // type
		asm.JEq.Imm(asm.R0, 2, "drop"),

		asm.Mov.Imm(asm.R0, next).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, drop).WithSymbol("drop"),
		asm.Return(),
	})
}
