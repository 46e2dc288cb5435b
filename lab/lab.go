// Package lab builds datacenters, a WAN and the devices that limit it out of
// network namespaces and veth pairs on one machine.
package lab
