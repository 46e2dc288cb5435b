// Package strongswan is the tunnel driver that negotiates by IKEv2 (RFC 7296):
// strongSwan's daemon charon, one process for each half, driven through swanctl,
// with the kernel's ESP or charon's own in user space (plugin kernel-libipsec).
//
// A half's charon shares nothing with one that the host runs already: it has its
// own configuration, control socket, process-id file and UDP ports, all files of
// which live in a file system in memory that only its own mount namespace shows.
// It ends with the agent, however that dies, and takes its SAs, policies, files
// and interfaces along. Should it be killed too, the kernel removes the SAs after
// the spec's lifetime; policies that are left then meet no packet, because they
// are those of an interface that is gone.
package strongswan
