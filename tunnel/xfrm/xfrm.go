// Package xfrm is a tunnel of ESP in the kernel (RFC 4303), set up by netlink:
// no key exchange, no daemon. Four forms share it:
//
//	Interface   route-based: an xfrm interface, whose clear side is in the session's namespace
//	VTI         route-based: the older virtual tunnel interface, likewise
//	Policy      policy-based: selectors catch what goes between two addresses of this host
//	Transport   ESP transport mode between the outer addresses, for one UDP flow
//
// SAs and policies stand in the agent's own namespace, perhaps beside those of a
// production IKE daemon. So nothing is flushed and no SA or policy of others is
// changed; selectors that overlap theirs are refused; and all that is added carries
// a hard lifetime, after which the kernel removes it without us.
//
// The order of the files: driver_linux.go builds a half, from form.go and plan.go
// (what its SAs and policies have in common), check_linux.go (whether this kernel
// can), protection_linux.go (SAs and policies, counts, removal), and the clear side:
// clear_linux.go with link_linux.go, or address_linux.go. state_linux.go and
// policy_linux.go write the messages that kernel_linux.go sends. guard_linux.go
// protects what others build, such as GRE.
package xfrm
