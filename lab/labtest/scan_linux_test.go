package labtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"tunnelmark/lab/labtest"
)

// The first thread never exits, so no namespace may be made on it.
func init() { runtime.LockOSThread() }

// Each plant leaves one thing behind that the scan must see, and that must be gone
// again for it after the cleanup.
func TestScanSeesPlantedLeaks(t *testing.T) {
	tests := []struct {
		name  string
		want  string // the kind of thing
		plant func(*testing.T) (remove func())
	}{
		{"namespace held by a descriptor", "network namespace ", plantDescriptor},
		{"namespace held by a thread", "network namespace ", plantThread},
		{"namespace held by a socket", "network namespace ", plantSocket},
		{"namespace held by a TUN device", "network namespace ", plantTUN},
		{"namespace held by a mount", "namespace net:[", plantMount},
		{"name", "name /run/netns/tm-planted", plantName},
		{"interface", "interface tm-planted", plantInterface},
		{"eBPF program", "eBPF program ", plantProgram},
		{"process", "process ", plantProcess},
		{"orphan", "process ", plantOrphan},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			labtest.CheckLeaks(t)
			before, err := labtest.Scan()
			if err != nil {
				t.Fatal(err)
			}
			remove := tt.plant(t)
			found, err := before.Left(0)
			remove()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains("\n"+strings.Join(found, "\n"), "\n"+tt.want) {
				t.Errorf("want a %q found, got %q", tt.want, found)
			}
		})
	}
}

// inNamespace calls f on a thread in a namespace of its own, which is discarded
// once release is called.
func inNamespace(t *testing.T, f func() error) (release func()) {
	t.Helper()
	ready, leave := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		ready <- err
		<-leave
	}()
	if err := <-ready; err != nil {
		close(leave)
		t.Fatal(err)
	}
	return func() { close(leave) }
}

func plantThread(t *testing.T) func() {
	return inNamespace(t, func() error { return nil })
}

// held opens something on a thread in a namespace of its own, and lets the thread
// go.
func held(t *testing.T, open func() (int, error)) func() {
	t.Helper()
	fd := -1
	release := inNamespace(t, func() (err error) { fd, err = open(); return err })
	release()
	return func() { unix.Close(fd) }
}

func plantDescriptor(t *testing.T) func() {
	return held(t, func() (int, error) {
		return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
}

func plantSocket(t *testing.T) func() {
	return held(t, func() (int, error) { return unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) })
}

func plantTUN(t *testing.T) func() {
	return held(t, openTUN)
}

func openTUN() (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	request, err := unix.NewIfreq("tm-planted")
	if err != nil {
		return -1, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	return fd, unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
}

func plantInterface(t *testing.T) func() {
	t.Helper()
	fd, err := openTUN()
	if err != nil {
		t.Fatal(err)
	}
	return func() { unix.Close(fd) }
}

func plantMount(t *testing.T) func() {
	t.Helper()
	target := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release := inNamespace(t, func() error {
		return unix.Mount("/proc/thread-self/ns/net", target, "none", unix.MS_BIND, "")
	})
	release()
	return func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	}
}

func plantName(t *testing.T) func() {
	t.Helper()
	const path = "/run/netns/tm-planted"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(path) }
}

func plantProgram(t *testing.T) func() {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "tm_planted",
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "MIT",
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() { program.Close() }
}

func plantProcess(t *testing.T) func() {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func plantOrphan(t *testing.T) func() {
	t.Helper()
	out, err := exec.Command("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
	}
}
