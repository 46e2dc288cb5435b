package doctor

import (
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"strings"
)

// parts are what tunnels need of the kernel.
var parts = []struct{ module, option, gives string }{
	{"tun", "CONFIG_TUN", "drivers esp, wireguard-user, strongswan-user"},
	{"esp4", "CONFIG_INET_ESP", "kernel ESP over IPv4: drivers xfrm, xfrm-vti, xfrm-policy, xfrm-transport, strongswan, gre-esp"},
	{"esp6", "CONFIG_INET6_ESP", "kernel ESP over IPv6: the same drivers"},
	{"xfrm_user", "CONFIG_XFRM_USER", "SAs by netlink, which every driver with kernel ESP makes"},
	{"xfrm_interface", "CONFIG_XFRM_INTERFACE", "driver xfrm"},
	{"ip_vti", "CONFIG_NET_IPVTI", "driver xfrm-vti"},
	{"ip_gre", "CONFIG_NET_IPGRE", "drivers gre, gre-esp"},
	{"wireguard", "CONFIG_WIREGUARD", "driver wireguard (wireguard-user works without)"},
}

// modules tells of each part whether the kernel has it, and which driver it costs
// if not.
func modules(h Host) []Finding {
	kernel := h.kernelParts()
	var found []Finding
	for _, p := range parts {
		f := kernel.find(p.module, p.option)
		f.Subject = p.module
		switch f.State {
		case Missing, Warning:
			f.Cost = "no " + p.gives
		case Note:
			f.Cost = "it is needed for: " + p.gives
		}
		found = append(found, f)
	}
	return append(found, tunDevice(h))
}

// kernelParts are the kernel's own lists.
type kernelParts struct {
	release  string
	loaded   map[string]bool
	builtin  map[string]bool
	files    map[string]bool // On disk.
	listed   bool            // There are lists of what is built in and on disk.
	config   string          // The kernel's build options, "" where they are not to be had.
	loadable bool            // Modules can be loaded now.
}

func (h Host) kernelParts() kernelParts {
	release := h.release()
	dir := path.Join("lib/modules", release)
	builtin, files := h.text(dir+"/modules.builtin"), h.text(dir+"/modules.dep")
	disabled, _ := h.number("proc/sys/kernel/modules_disabled")
	return kernelParts{
		release:  release,
		loaded:   firstWords(h.text("proc/modules"), " "),
		builtin:  firstWords(builtin, "\n"),
		files:    firstWords(files, ":"),
		listed:   builtin+files != "",
		config:   h.kernelConfig(release),
		loadable: disabled == 0,
	}
}

// kernelConfig reads the build options from where kernels and distributions keep
// them.
func (h Host) kernelConfig(release string) string {
	file, err := h.Files.Open("proc/config.gz")
	if err != nil {
		return h.text("boot/config-" + release)
	}
	defer letGo(file)
	unpacked, err := gzip.NewReader(io.LimitReader(file, maxFile))
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(io.LimitReader(unpacked, maxFile)) // What could be read of it.
	return string(text)
}

// firstWords are the names of the modules that stand first in each line, up to a
// separator. Files are named with "-" or "_" and end in .ko, .ko.xz or .ko.zst.
func firstWords(text, separator string) map[string]bool {
	words := map[string]bool{}
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), separator)
		name, _, _ := strings.Cut(path.Base(word), ".")
		words[strings.ReplaceAll(name, "-", "_")] = true
	}
	return words
}

// find says where a part is.
func (k kernelParts) find(module, option string) Finding {
	onDisk := k.files[module]
	switch {
	case k.loaded[module]:
		return Finding{State: OK, Figure: "loaded"}
	case k.builtin[module], k.isSet(option, "y"):
		return Finding{State: OK, Figure: "built in"}
	case onDisk && k.loadable:
		return Finding{State: OK, Figure: "available, loaded when it is first used"}
	case onDisk:
		return Finding{
			State: Warning, Figure: "on disk, but the loading of modules is switched off (kernel.modules_disabled)",
			Remedy: fmt.Sprintf("echo %s > /etc/modules-load.d/tunnelmark.conf and boot again", module),
		}
	case k.isSet(option, "m") && !k.listed, !k.listed && k.config == "":
		return Finding{
			State: Note, Figure: fmt.Sprintf("not loaded; /lib/modules/%s is not to be seen here", orUnknown(k.release)),
			Remedy: "modprobe " + module + "; in a container: on its host",
		}
	}
	return Finding{
		State: Missing, Figure: "absent",
		Remedy: fmt.Sprintf("boot a kernel with %s; Ubuntu: apt-get install linux-modules-extra-%s", option, orUnknown(k.release)),
	}
}

// isSet says whether the kernel was built with the option at that value.
func (k kernelParts) isSet(option, value string) bool {
	return strings.Contains("\n"+k.config+"\n", "\n"+option+"="+value+"\n")
}

// tunDevice is what a process opens to make a TUN interface.
func tunDevice(h Host) Finding {
	if h.has("dev/net/tun") {
		return Finding{Subject: "/dev/net/tun", State: OK, Figure: "present"}
	}
	return Finding{
		Subject: "/dev/net/tun", State: Missing, Figure: "absent",
		Cost:   "no " + parts[0].gives,
		Remedy: "modprobe tun; in a container: start it with --device /dev/net/tun",
	}
}
