package doctor

import (
	"bytes"
	"compress/gzip"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// compareGolden holds text against testdata/NAME.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); to accept it: go test -update\n%s", path, diff)
	}
}

// Every finding of three machines, as a user reads them.
func TestExamine(t *testing.T) {
	for _, name := range []string{"gateway", "container", "metal"} {
		t.Run(name, func(t *testing.T) {
			report := testReport(t, name)
			report.Carries = Own(report)
			checkFindings(t, report.Findings)
			var text bytes.Buffer
			if err := WriteText(&text, Document{Ends: []Report{report}}); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name+".golden", text.Bytes())
		})
	}
}

// Of a machine that tells nothing it is said so, and nothing is made up.
func TestExamineNothing(t *testing.T) {
	findings := Examine(Host{Files: fstest.MapFS{}})
	checkFindings(t, findings)
	for _, f := range findings {
		if absent := f.Subject == "/dev/net/tun" && f.State == Missing; f.State != Note && !absent {
			t.Errorf("of nothing it claims %s %s: %s: %s", f.Topic, f.Subject, f.State, f.Figure)
		}
	}
	if carries := Own(Report{Findings: findings}); carries != nil {
		t.Errorf("of nothing it reckons %v", carries)
	}
}

// This machine can be examined, whatever it is.
func TestHere(t *testing.T) {
	host := Here(netip.Addr{}, netip.MustParseAddr("127.0.0.1"))
	checkFindings(t, Examine(host))
	if release := host.release(); release == "" {
		t.Error("the kernel's release is not found")
	}
	if host.Clock == nil || host.Clock.Now().Before(host.Clock.Began) {
		t.Error("the clock is not read")
	}
}

func TestHereLoopback(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	host := Here(loopback, loopback)
	if host.Interface == nil || host.Interface.Name != "lo" || host.Interface.MTU != 65535 {
		t.Errorf("interface of %s: %+v, want lo with 65535 bytes", loopback, host.Interface)
	}
	if host.Path == nil || host.Path.Problem != "" || host.Path.MTU < 1500 || host.Path.MTU > 65535 {
		t.Errorf("path to %s: %+v", loopback, host.Path)
	}
	unreachable := Here(loopback, netip.MustParseAddr("2001:db8::1"))
	if unreachable.Path.Problem == "" {
		t.Errorf("path from IPv4 to IPv6: %+v, want a problem", unreachable.Path)
	}
}

// checkFindings holds what every finding owes to its reader.
func checkFindings(t testing.TB, findings []Finding) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range findings {
		what := f.Topic + " " + f.Subject
		switch {
		case f.Topic == "" || f.Subject == "" || f.Figure == "":
			t.Errorf("finding without a topic, subject or figure: %+v", f)
		case !slices.Contains([]State{OK, Note, Warning, Missing}, f.State):
			t.Errorf("%s: state %q", what, f.State)
		case (f.State == Warning || f.State == Missing) && (f.Cost == "" || f.Remedy == ""):
			t.Errorf("%s: %s without a cost or a remedy: %+v", what, f.State, f)
		case f.State == OK && (f.Cost != "" || f.Remedy != ""):
			t.Errorf("%s: ok, but it costs something: %+v", what, f)
		case seen[what]:
			t.Errorf("%s is told twice", what)
		}
		seen[what] = true
	}
}

func TestKernelParts(t *testing.T) {
	const release = "6.1.0"
	base := fstest.MapFS{"proc/sys/kernel/osrelease": {Data: []byte(release + "\n")}}
	for name, c := range map[string]struct {
		files map[string]string
		want  State
		says  string
	}{
		"loaded":                     {map[string]string{"proc/modules": "ip_vti 1 0 - Live 0x0\n"}, OK, "loaded"},
		"built in by list":           {map[string]string{"lib/modules/6.1.0/modules.builtin": "kernel/net/ipv4/ip_vti.ko\n"}, OK, "built in"},
		"built in by configuration":  {map[string]string{"boot/config-6.1.0": "CONFIG_NET=y\nCONFIG_NET_IPVTI=y\n"}, OK, "built in"},
		"on disk":                    {map[string]string{"lib/modules/6.1.0/modules.dep": "kernel/net/ipv4/ip-vti.ko.xz: a.ko\n"}, OK, "available"},
		"on disk and locked":         {map[string]string{"lib/modules/6.1.0/modules.dep": "x/ip_vti.ko:\n", "proc/sys/kernel/modules_disabled": "1\n"}, Warning, "switched off"},
		"not on disk":                {map[string]string{"lib/modules/6.1.0/modules.dep": "x/other.ko:\n"}, Missing, "absent"},
		"not built":                  {map[string]string{"boot/config-6.1.0": "# CONFIG_NET_IPVTI is not set\n"}, Missing, "absent"},
		"module, lists are not here": {map[string]string{"boot/config-6.1.0": "CONFIG_NET_IPVTI=m\n"}, Note, "/lib/modules/6.1.0 is not to be seen"},
		"nothing is known":           {nil, Note, "/lib/modules/6.1.0 is not to be seen"},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			for path, file := range base {
				files[path] = file
			}
			for path, text := range c.files {
				files[path] = &fstest.MapFile{Data: []byte(text)}
			}
			got := Host{Files: files}.kernelParts().find("ip_vti", "CONFIG_NET_IPVTI")
			if got.State != c.want || !strings.Contains(got.Figure, c.says) {
				t.Errorf("found %+v, want %s: %s", got, c.want, c.says)
			}
		})
	}
}

// Some kernels hold their build options themselves.
func TestPackedConfig(t *testing.T) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write([]byte("CONFIG_INET_ESP=y\n# CONFIG_WIREGUARD is not set\n")); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	whole := packed.Bytes()
	for name, c := range map[string]struct {
		file []byte
		want State
	}{
		"whole":   {whole, OK},
		"no gzip": {[]byte("CONFIG_INET_ESP=y\n"), Note},
		"empty":   {nil, Note},
	} {
		host := Host{Files: fstest.MapFS{"proc/config.gz": {Data: c.file}}}
		if got := host.kernelParts().find("esp4", "CONFIG_INET_ESP"); got.State != c.want {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for release, want := range map[string]version{
		"6.1.0-31-amd64": {6, 1}, "4.18": {4, 18}, "5.15.0-1051-aws": {5, 15}, "10.0-rc1": {10, 0},
	} {
		if got, ok := parseVersion(release); !ok || got != want {
			t.Errorf("parseVersion(%q) = %v, %v, want %v", release, got, ok, want)
		}
	}
	for _, release := range []string{"", "linux", "6", "6.", ".1"} {
		if got, ok := parseVersion(release); ok {
			t.Errorf("parseVersion(%q) = %v, want none", release, got)
		}
	}
	if (version{6, 2}).atLeast(version{6, 13}) || !(version{7, 0}).atLeast(version{6, 13}) || !(version{6, 13}).atLeast(version{6, 13}) {
		t.Error("versions are not compared number by number")
	}
}

func TestCipherFinding(t *testing.T) {
	for driver, want := range map[string]State{
		"": Note, "rfc4106-gcm-aesni": OK, "rfc4106-gcm-vaes-avx10_512": OK, "gcm-aes-ce": OK,
		"rfc4106(gcm_base(ctr-aes-aesni,ghash-generic))":           Note,
		"rfc4106(gcm_base(ctr(aes-generic),ghash-generic))":        Warning,
		"cbc(ecb(aes-fixed-time))":                                 Warning,
		"rfc7539esp(chacha20-x86_64,poly1305-x86_64)":              OK,
		"rfc7539esp(chacha20-generic,poly1305-generic)":            Note,
		"rfc7539esp(chacha20-generic,poly1305-simd)":               Note,
		"cryptd(__rfc4106-gcm-aesni)":                              OK,
		"rfc4106(gcm_base(ctr(aes-generic),ghash-clmulni))":        Warning,
		"something that a later kernel calls by a name of its own": OK,
	} {
		if got := cipherFinding("AES-GCM", driver, true); got.State != want {
			t.Errorf("%q: %+v, want %s", driver, got, want)
		}
	}
	if got := cipherFinding("AES-GCM", "gcm(aes-generic)", false); got.State != Note {
		t.Errorf("plain code on a CPU without AES: %+v, want a note: the CPU is told of elsewhere", got)
	}
}

func TestCPUQuota(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"none":              {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000"}, 0},
		"version 2":         {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "50000 100000"}, 0.5},
		"of a group above":  {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "200000 100000"}, 2},
		"the least":         {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "300000 100000", "sys/fs/cgroup/a/cpu.max": "200000 100000"}, 2},
		"version 1":         {map[string]string{"proc/self/cgroup": "1:cpu:/a\n", "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "25000", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "50000"}, 0.5},
		"version 1, none":   {map[string]string{"proc/self/cgroup": "1:cpu:/a\n", "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "50000"}, 0},
		"out of the tree":   {map[string]string{"proc/self/cgroup": "0::/../../etc\n"}, 0},
		"not of that form":  {map[string]string{"proc/self/cgroup": "nonsense\n0::\n:::\n"}, 0},
		"period of zero":    {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 0"}, 0},
		"other controllers": {map[string]string{"proc/self/cgroup": "1:cpuset:/a\n", "sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us": "1", "sys/fs/cgroup/cpuset/a/cpu.cfs_period_us": "2"}, 0},
	} {
		files := fstest.MapFS{}
		for path, text := range c.files {
			files[path] = &fstest.MapFile{Data: []byte(text)}
		}
		got, limited := Host{Files: files}.cpuQuota()
		if got != c.want || limited != (c.want > 0) {
			t.Errorf("%s: %v CPUs, limited %v, want %v", name, got, limited, c.want)
		}
	}
}

func TestCPUsIn(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-3,8": 5, "0,2,4-5": 4, "": 0, "x": 0, "3-1": 0, "0-99999999": 0} {
		if got := cpusIn(list); got != want {
			t.Errorf("cpusIn(%q) = %d, want %d", list, got, want)
		}
	}
}

func TestCoreMask(t *testing.T) {
	for cores, want := range map[int]string{1: "1", 2: "3", 8: "ff", 31: "7fffffff", 32: "ffffffff", 36: "f,ffffffff", 64: "ffffffff,ffffffff"} {
		if got := coreMask(cores); got != want {
			t.Errorf("coreMask(%d) = %s, want %s", cores, got, want)
		}
	}
}

func TestLinkRate(t *testing.T) {
	for megabits, want := range map[uint64]float64{0: 0, 1000: 1e9, 0xffff: 0, 0xffffffff: 0, 100000: 1e11} {
		if got := linkRate(megabits); got != want {
			t.Errorf("linkRate(%d) = %v, want %v", megabits, got, want)
		}
	}
}

// Whatever stands in one of the files, the doctor keeps to its form.
func FuzzExamine(f *testing.F) {
	names := []string{
		"proc/sys/kernel/osrelease", "proc/modules", "proc/config.gz", "proc/self/status", "proc/self/cgroup", "proc/crypto",
		"proc/cpuinfo", "proc/stat", "proc/meminfo", "proc/self/net/udp", "proc/self/net/softnet_stat",
		"proc/sys/net/ipv4/conf/all/rp_filter", "proc/sys/net/core/rmem_max", "proc/sys/net/netfilter/nf_conntrack_count",
		"sys/devices/system/clocksource/clocksource0/current_clocksource", "sys/devices/system/cpu/vulnerabilities/mds",
	}
	for i, name := range names {
		for _, host := range []string{"gateway", "container", "metal"} {
			if file := readHost(f, host)[name]; file != nil {
				f.Add(uint8(i), file.Data)
			}
		}
	}
	gateway := readHost(f, "gateway")
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		files := fstest.MapFS{}
		for name, file := range gateway {
			files[name] = file
		}
		files[names[int(which)%len(names)]] = &fstest.MapFile{Data: text}
		host := testHost(t, "gateway")
		host.Files = files
		checkFindings(t, Examine(host))
	})
}
