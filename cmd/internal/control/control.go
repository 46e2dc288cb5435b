// Package control is the contract between controller and agent: who may talk
// to whom, and what two agents agree on before a packet is sent.
//
// The story, in the order in which it happens:
//
//  1. identity.go: each program has one Ed25519 key; its fingerprint is its name
//     towards others. There is no CA, and nothing expires unseen.
//  2. token.go, pair.go: the agent's operator issues a one-time token; the
//     controller that redeems it is pinned, and so are the peers that it
//     introduces.
//  3. trust.go: the pins, in a file.
//  4. listen.go, tls.go, server.go, client.go: Connect RPC over mutual TLS 1.3.
//     A caller without a pin gets nothing but Pair.
//  5. offer.go, verify.go, agreement.go: for each session each agent signs an
//     offer; the controller carries it; the other agent accepts it only from a
//     pinned peer, and both derive the session's keys from both offers.
//
// The messages are in proto/tunnelmark/control/v1; the generated code is in
// controlv1 and is committed.
package control

//go:generate go tool -modfile=../../../.ci/proto.mod buf lint
//go:generate go tool -modfile=../../../.ci/proto.mod buf generate

// Limits of this implementation.
const (
	maxMessageBytes = 4 << 20  // Of one message, either way: a trial of an hour has 180,000 windows.
	maxHeaderBytes  = 16 << 10 // Of a request's header.
	maxNameLength   = 64       // Of an agent's or a controller's name, in bytes.
	maxAddressBytes = 256      // Of a control address, in bytes.
)
