package strongswan

import (
	"fmt"
	"strconv"
	"strings"
)

// association is an IKE_SA with its newest child that carries traffic.
type association struct {
	ike     string // Algorithms of the IKE_SA.
	child   childSA
	carries bool // There is such a child.
}

// childSA is a pair of ESP SAs (RFC 7296, Section 2.9).
type childSA struct {
	spiIn, spiOut string // In hex.
	algorithms    string
	esn, udp      bool
}

// findAssociation takes from the reply to list-sas what is established. Where
// there are several IKE_SAs, the one that carries traffic counts.
func findAssociation(output []byte) (association, error) {
	reply, err := parseReply(output)
	if err != nil {
		return association{}, err
	}
	var found association
	for _, event := range reply.sections {
		ike := event.child(ikeName)
		if ike == nil || ike.values["state"] != "ESTABLISHED" {
			continue
		}
		child, carries := newestChild(ike.child("child-sas"))
		if carries || !found.carries {
			found = association{ike: algorithms(ike.values), child: child, carries: carries}
		}
	}
	return found, nil
}

// newestChild skips those that are being negotiated, and those that a rekeying
// has replaced.
func newestChild(children *section) (newest childSA, found bool) {
	if children == nil {
		return childSA{}, false
	}
	highest := uint64(0)
	for _, s := range children.sections {
		id, err := strconv.ParseUint(s.values["uniqueid"], 10, 32)
		if err != nil || s.values["name"] != childName || s.values["state"] != "INSTALLED" || id < highest {
			continue
		}
		highest, found = id, true
		newest = childSA{
			spiIn:      s.values["spi-in"],
			spiOut:     s.values["spi-out"],
			algorithms: algorithms(s.values),
			esn:        s.values["esn"] == "1",
			udp:        s.values["encap"] == "yes",
		}
	}
	return newest, found
}

// algorithms joins transforms as strongSwan writes them in a proposal.
func algorithms(values map[string]string) string {
	var words []string
	for _, kind := range []string{"encr", "integ", "prf", "dh"} {
		word := values[kind+"-alg"]
		if kind == "dh" {
			word = values["dh-group"]
		}
		if word == "" {
			continue
		}
		if size := values[kind+"-keysize"]; size != "" {
			word = fmt.Sprintf("%s_%s", word, size)
		}
		words = append(words, word)
	}
	return strings.Join(words, "/")
}
