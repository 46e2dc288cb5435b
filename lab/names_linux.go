package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// namesDir is where iproute2 looks for names: "ip netns exec NAME" works on them.
const namesDir = "/run/netns"

// Up builds the topology and leaves it under names that outlive the process, until
// Down or Cleanup. It returns the sites' names under /run/netns in the topology's
// order. When it fails nothing remains. A topology with gateways is refused: what
// joins those ends with the process that started it, and nothing leads past them.
// So is a WAN that netem does not do here.
func Up(ctx context.Context, t Topology) ([]string, error) {
	if len(t.Gateways) > 0 {
		return nil, fmt.Errorf("leave lab %s up: its gateways %q are joined only while a program runs them: use tunnelmark lab run", t.Name, t.Gateways)
	}
	l, err := Build(ctx, t)
	if err != nil {
		return nil, err
	}
	names, err := l.Name()
	return names, errors.Join(err, l.Close())
}

// Name gives every namespace of the lab a name under /run/netns, "tm-TOPOLOGY-SITE"
// for a site and "tm-TOPOLOGY-SITE+SITE" for a link's middle, and records that they
// are this program's. The lab then outlives Close, until Down. It returns the
// sites' names. When it fails no name remains; a name that is taken is an
// os.ErrExist. A lab whose WAN is this process's is refused.
func (l *Lab) Name() ([]string, error) {
	if err := l.outlives(); err != nil {
		return nil, err
	}
	names, r, err := l.record()
	if err != nil {
		return nil, err
	}
	if err := prepareNames(); err != nil {
		return nil, err
	}
	if err := r.create(); err != nil {
		return nil, err
	}
	for i, n := range r.Namespaces {
		if err := bindName(n.Name, l.namespaces()[i].fd()); err != nil {
			r.Namespaces = r.Namespaces[:i]
			return nil, errors.Join(err, r.undo())
		}
	}
	return names, nil
}

// outlives says whether all of the lab works without this process.
func (l *Lab) outlives() error {
	for _, k := range l.links {
		for _, wan := range k.wans {
			if wan.process == nil {
				continue
			}
			return fmt.Errorf("leave lab %s up: the WAN of its link %q works only while a program runs it, %w", l.name, k.Between, wan.why)
		}
	}
	return nil
}

// namespaces lists the sites' and then the middles'.
func (l *Lab) namespaces() []*namespace {
	var all []*namespace
	for _, site := range l.order {
		all = append(all, l.sites[site])
	}
	for _, k := range l.links {
		all = append(all, k.middle)
	}
	return all
}

// record describes the lab's names before any is given, so that what is left of an
// interrupted Name can be found and known.
func (l *Lab) record() (sites []string, r record, err error) {
	prefix := "tm-" + l.name + "-"
	var names []string
	for _, site := range l.order {
		names = append(names, prefix+site)
	}
	sites = names[:len(l.order):len(l.order)]
	for _, k := range l.links {
		names = append(names, prefix+strings.Join(k.Between[:], "+"))
	}
	r = record{Lab: l.name, ProcessID: os.Getpid()}
	for i, ns := range l.namespaces() {
		inode, err := ns.inode()
		if err != nil {
			return nil, r, err
		}
		r.Namespaces = append(r.Namespaces, named{Name: names[i], Inode: inode})
	}
	return sites, r, nil
}

// prepareNames makes /run/netns a shared mount point as iproute2 does, so that
// removing a name removes it in every mount namespace.
func prepareNames() error {
	if err := os.MkdirAll(namesDir, 0o755); err != nil {
		return fmt.Errorf("make directory of names: %w", err)
	}
	err := unix.Mount("", namesDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(namesDir, namesDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", namesDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share %s: %w", namesDir, err)
	}
	return nil
}

// bindName gives the namespace behind a descriptor one name.
func bindName(name string, descriptor int) error {
	path := filepath.Join(namesDir, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("name network namespace: %s is taken by another program: remove it there (ip netns delete %s) or rename the lab: %w", path, name, err)
	}
	if err != nil {
		return fmt.Errorf("name network namespace: %w", err)
	}
	file.Close()
	source := fmt.Sprintf("/proc/self/fd/%d", descriptor)
	if err := unix.Mount(source, path, "none", unix.MS_BIND, ""); err != nil {
		return errors.Join(fmt.Errorf("name network namespace %s: %w", name, err), os.Remove(path))
	}
	return nil
}

// unbindName takes a name away if it still stands for the namespace that it was
// given to, or for none.
func unbindName(n named) error {
	path := filepath.Join(namesDir, n.Name)
	var stat unix.Stat_t
	err := unix.Stat(path, &stat)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	mounted, err := isNamespace(path)
	if err != nil {
		return err
	}
	if mounted && stat.Ino != n.Inode {
		return fmt.Errorf("remove %s: it stands for a namespace that is not this program's", path)
	}
	if mounted {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove name: %w", err)
	}
	return nil
}

func isNamespace(path string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return false, fmt.Errorf("look at %s: %w", path, err)
	}
	return fs.Type == unix.NSFS_MAGIC, nil
}
