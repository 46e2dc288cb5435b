package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tunnelmark/cmd/internal/control"
	"tunnelmark/cmd/internal/controller"
	"tunnelmark/cmd/internal/kind"
	"tunnelmark/cmd/internal/unit"
	"tunnelmark/tunnel"
)

// tunnelFlags say what tunnel to build.
type tunnelFlags struct{ spec controller.Spec }

func (t *tunnelFlags) add(command *cobra.Command) {
	t.spec = controller.Spec{Driver: kind.ESP}
	flags := command.Flags()
	flags.StringVar(&t.spec.Driver, "driver", t.spec.Driver, "kind of tunnel: "+strings.Join(kind.Names(), ", "))
	flags.StringVar(&t.spec.Suite, "suite", "", "cipher suite of ESP (default aes-128-gcm): "+strings.Join(kind.Words(tunnel.Suites()), ", "))
	flags.StringVar(&t.spec.Encapsulation, "encapsulation", "", "what carries ESP: udp (RFC 3948, the default) or raw (IP protocol 50): "+strings.Join(kind.Where(takesRaw), ", "))
	flags.IntVar(&t.spec.InnerMTU, "mtu", 0, "inner MTU in bytes (default: the largest that needs no fragments)")
	flags.IntVar(&t.spec.Tunnels, "tunnels", 1, "how many tunnels to build side by side, with flows spread over them: "+strings.Join(kind.SideBySide(), ", "))
	flags.BoolVar(&t.spec.NoESN, "no-esn", false, "32-bit sequence numbers of ESP instead of extended ones")
	flags.IntVar(&t.spec.ReplayWindow, "replay-window", 0, "packets of ESP's anti-replay window (default: the driver's own)")
	t.addRekey(flags)
	flags.BoolVar(&t.spec.Insecure, "insecure", false, "allow --suite null-null of driver esp: what the path carries without crypto; both agents' policies must allow it too (insecure: true)")
	t.addLocal(flags)
	complete(command, "driver", drivers)
	complete(command, "suite", func() []string { return kind.Words(t.kind().Suites) })
	complete(command, "encapsulation", func() []string { return kind.Words(t.kind().Encapsulations) })
}

func takesRaw(k kind.Kind) bool { return slices.Contains(k.Encapsulations, tunnel.Raw) }

// complete has a shell offer the words of a flag.
func complete(command *cobra.Command, flag string, offered func() []string) {
	err := command.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return offered(), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic("internal error: " + err.Error()) // There is no such flag, or it is completed already.
	}
}

// drivers are the names of all kinds of tunnel, each with what it is.
func drivers() []string {
	var names []string
	for _, k := range kind.All() {
		names = append(names, k.Name+"\t"+k.About)
	}
	return names
}

// kind is that of the driver which was given so far, if it is known.
func (t *tunnelFlags) kind() kind.Kind {
	k, _ := kind.Find(t.spec.Driver)
	return k
}

// addRekey adds when ESP replaces its keys by itself.
func (t *tunnelFlags) addRekey(flags *pflag.FlagSet) {
	only := "with --driver " + strings.Join(kind.WithLifetime(), " or ") + ": "
	rekey := &t.spec.Rekey
	duration(flags, &rekey.Time, "rekey-time", "", fmt.Sprintf("%sreplace the keys after that time, such as 10m; %v or more (default: never by time)",
		only, tunnel.LeastRekeyTime))
	flags.Uint64Var(&rekey.Packets, "rekey-packets", 0, fmt.Sprintf("%sreplace the keys after so many packets that an end has sent, %d to %d (default %[3]d)",
		only, tunnel.LeastRekeyPackets, uint64(tunnel.MostRekeyPackets)))
	flags.Var(&quantity[uint64]{&rekey.Bytes, readBytes, "size", ""}, "rekey-bytes", fmt.Sprintf("%sreplace the keys after so many bytes of inner packets that an end has sent, such as 10G; %dMi to %dGi (default %[3]dGi)",
		only, tunnel.LeastRekeyBytes>>20, uint64(tunnel.MostRekeyBytes>>30)))
}

func readBytes(text string) (uint64, error) {
	count, err := unit.Bytes(text)
	return uint64(count), err
}

// addLocal adds where an existing tunnel is used from.
func (t *tunnelFlags) addLocal(flags *pflag.FlagSet) {
	flags.StringVar(&t.spec.FromLocal, "from-local", "", "with --driver existing: address or interface at FROM behind which the tunnel is (default: the agent's outer address)")
	flags.StringVar(&t.spec.ToLocal, "to-local", "", "the same at TO")
}

// read is what was asked for, complete.
func (t *tunnelFlags) read() (controller.Spec, error) {
	if t.spec.Tunnels < 1 {
		return t.spec, usageError{fmt.Errorf("--tunnels: %d is not from 1 to %d", t.spec.Tunnels, control.MaxTunnels)}
	}
	spec, err := t.spec.Complete()
	if err != nil {
		return spec, usageError{err}
	}
	return spec, nil
}
