package main

import "time"

// outcome is what one tool did with one load.
type outcome struct {
	// Of UDP, the receiver's without duplicates.
	packetsSent, packetsReceived uint64
	innerBytesReceived           uint64
	goodputBytesReceived         uint64 // Of TCP.
	elapsed                      time.Duration

	senderCPU, receiverCPU time.Duration
	hostBusy               time.Duration // Of all cores, other programs' work included.

	pacing pacing // Of a paced load.
}

// pacing is how exact a load was.
type pacing struct {
	rateError float64 // As a ratio of the rate asked for, over the time on the CPU.
	within    float64 // Share of the windows of 100 ms within 1 % of the mean, or two bursts.
	burst     int     // Packets that left back to back; zero if the tool does not say.
	offCPU    float64 // Share of the time in which the host kept the sender off the CPU, if the tool says.
}

func (o outcome) packetsPerSecond() float64 { return float64(o.packetsReceived) / o.elapsed.Seconds() }

func (o outcome) innerBitsPerSecond() float64 {
	return float64(o.innerBytesReceived) * 8 / o.elapsed.Seconds()
}

func (o outcome) goodputBitsPerSecond() float64 {
	return float64(o.goodputBytesReceived) * 8 / o.elapsed.Seconds()
}

func (o outcome) lossRatio() float64 {
	return 1 - float64(o.packetsReceived)/float64(o.packetsSent)
}

// senderNanoseconds and its like are CPU time per packet: of the sender's process
// per packet sent, of the receiver's per packet received, and of all cores per
// packet received.
func (o outcome) senderNanoseconds() float64 { return perUnit(o.senderCPU, o.packetsSent) }

func (o outcome) receiverNanoseconds() float64 { return perUnit(o.receiverCPU, o.packetsReceived) }

func (o outcome) hostNanoseconds() float64 { return perUnit(o.hostBusy, o.packetsReceived) }

// senderNanosecondsPerKB and its like are CPU time per 1000 bytes of goodput.
func (o outcome) senderNanosecondsPerKB() float64 {
	return 1000 * perUnit(o.senderCPU, o.goodputBytesReceived)
}

func (o outcome) receiverNanosecondsPerKB() float64 {
	return 1000 * perUnit(o.receiverCPU, o.goodputBytesReceived)
}

func (o outcome) hostNanosecondsPerKB() float64 {
	return 1000 * perUnit(o.hostBusy, o.goodputBytesReceived)
}

// senderCores is how much of a core the sender's process took.
func (o outcome) senderCores() float64 { return o.senderCPU.Seconds() / o.elapsed.Seconds() }

// perUnit is in nanoseconds. Of nothing it is not a number, and shown as missing.
func perUnit(spent time.Duration, units uint64) float64 {
	return float64(spent.Nanoseconds()) / float64(units)
}
