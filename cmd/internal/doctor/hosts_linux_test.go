package doctor

import (
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// readHost makes the files of a machine out of testdata/NAME.txtar. There the file
// "links" holds symbolic links.
func readHost(t testing.TB, name string) fstest.MapFS {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, file := range archive.Files {
		if file.Name != "links" {
			files[file.Name] = &fstest.MapFile{Data: file.Data}
			continue
		}
		for line := range strings.Lines(string(file.Data)) {
			link, target, _ := strings.Cut(strings.TrimSpace(line), " ")
			files[link] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
		}
	}
	return files
}

func at(moment time.Time) func() time.Time { return func() time.Time { return moment } }

// testHost is one of testdata's with what no file of it tells.
func testHost(t testing.TB, name string) Host {
	t.Helper()
	host := Host{Files: readHost(t, name), FirstPort: 4500, LastPort: 4510}
	switch name {
	case "gateway":
		host.Outer = netip.MustParseAddr("192.0.2.1")
		host.Interface = &Interface{
			Name: "ens5", MTU: 9001, BitsPerSecond: 10e9, Driver: "ena", InSys: true, RxRing: 256, RxRingMost: 8192,
			Offloads: map[string]bool{"tx-checksum-ipv4": true, "tx-generic-segmentation": true, "rx-gro": false},
			Exceeded: map[string]uint64{"bw_out_allowance_exceeded": 7, "pps_allowance_exceeded": 0},
		}
		host.Path = &Path{Peer: netip.MustParseAddr("192.0.2.5"), MTU: 1500, Interface: "ens5", LinkMTU: 9001}
		host.Clock = &Clock{Now: at(noon.Add(20 * time.Millisecond)), Began: noon.Add(19 * time.Millisecond), Synchronised: true, MaxError: 1234 * time.Microsecond}
	case "container":
		host.Outer = netip.MustParseAddr("192.0.2.5")
		host.LastPort = 4500
		host.Path = &Path{Peer: netip.MustParseAddr("192.0.2.1"), Problem: "network is unreachable"}
		host.Clock = &Clock{Now: at(noon), Began: noon.Add(-time.Millisecond)}
	case "metal":
		host.PerCPUSAs = true
		host.Outer = netip.MustParseAddr("2001:db8::1")
		host.Interface = &Interface{
			Name: "enp1s0", MTU: 1500, BitsPerSecond: 25e9, Driver: "mlx5_core", InSys: true, RxRing: 8192, RxRingMost: 8192,
			Offloads: map[string]bool{
				"tx-checksum-ip-generic": true, "tx-generic-segmentation": true, "tx-tcp-segmentation": true,
				"tx-udp-segmentation": true, "rx-gro": true, "esp-hw-offload": true,
			},
			Exceeded: map[string]uint64{"pps_allowance_exceeded": 0},
		}
		host.Path = &Path{Peer: netip.MustParseAddr("2001:db8::2"), MTU: 1500, Interface: "enp1s0", LinkMTU: 1500}
		host.Clock = &Clock{Now: at(noon), Began: noon.Add(-time.Millisecond), Synchronised: true, MaxError: 400 * time.Microsecond}
	}
	return host
}

// testReport is what a controller would make of it.
func testReport(t testing.TB, name string) Report {
	t.Helper()
	host := testHost(t, name)
	return Report{
		Name: name, Address: name + ".example:4600", Version: "v0.3.0", Outer: host.Outer.String(),
		FirstPort: host.FirstPort, LastPort: host.LastPort,
		Drivers: []Driver{
			{Name: "esp", Supported: true, Tried: true},
			{Name: "xfrm", Reason: "check xfrm tunnel: no CAP_NET_ADMIN"},
			{Name: "xfrm-policy", Reason: "check xfrm-policy tunnel: no CAP_NET_ADMIN"},
			{Name: "xfrm-vti", Reason: "VTI interface: not supported: this kernel lacks it; load or build the module ip_vti (CONFIG_NET_IPVTI), or use driver esp"},
			{Name: "clear", Supported: true, Tried: true},
			{Name: "wireguard", Supported: true},
		},
		Findings: Examine(host),
		Asked:    Asked{From: noon.Add(-5 * time.Millisecond), To: noon.Add(5 * time.Millisecond)},
	}
}
