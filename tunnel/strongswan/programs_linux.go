package strongswan

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"tunnelmark/tunnel"
)

// debianPackages bring all that is used.
const debianPackages = "strongswan-charon strongswan-swanctl libstrongswan-standard-plugins libcharon-extra-plugins libstrongswan-extra-plugins"

// Where distributions put charon and its plugins; swanctl is in $PATH.
var (
	charonPaths = []string{
		"/usr/lib/ipsec/charon", "/usr/libexec/ipsec/charon",
		"/usr/lib/strongswan/charon", "/usr/libexec/strongswan/charon",
	}
	swanctlPaths = []string{"swanctl", "/usr/sbin/swanctl", "/sbin/swanctl"}
	pluginPaths  = []string{
		"/usr/lib/ipsec/plugins", "/usr/lib/strongswan/plugins", "/usr/lib64/strongswan/plugins",
	}
)

// programs are strongSwan's, by path.
type programs struct {
	charon, swanctl string
}

// findPrograms looks for strongSwan's programs, or takes those that are given,
// and for the plugins without which charon is of no use here.
func (d Driver) findPrograms() (found programs, err error) {
	if found.charon, err = find("charon", d.Charon, charonPaths); err != nil {
		return programs{}, err
	}
	if found.swanctl, err = find("swanctl", d.Swanctl, swanctlPaths); err != nil {
		return programs{}, err
	}
	needed := []string{"vici", "openssl", "nonce", "socket-default", "kernel-netlink"}
	if d.UserSpace {
		needed = append(needed, "kernel-libipsec")
	}
	for _, plugin := range needed {
		if err := findPlugin(plugin); err != nil {
			return programs{}, err
		}
	}
	return found, nil
}

func find(name, given string, candidates []string) (string, error) {
	if given != "" {
		candidates = []string{given}
	}
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", missing(fmt.Sprintf("program %s (looked for %q)", name, candidates))
}

// findPlugin trusts an installation whose plugins are nowhere that is known:
// charon itself will say what it lacks.
func findPlugin(name string) error {
	known := false
	for _, directory := range pluginPaths {
		if _, err := os.Stat(filepath.Join(directory, "libstrongswan-"+name+".so")); err == nil {
			return nil
		}
		_, err := os.Stat(directory)
		known = known || err == nil
	}
	if known {
		return missing("plugin " + name)
	}
	return nil
}

func missing(what string) error {
	return fmt.Errorf("strongSwan's %s is missing: %w; install the Debian packages %s, or use driver esp, which needs none",
		what, tunnel.ErrNotSupported, debianPackages)
}
