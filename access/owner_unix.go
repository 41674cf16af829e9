//go:build unix

package access

import (
	"io/fs"
	"os"
	"syscall"
)

// ownFile reports whether this process owns the file.
func ownFile(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
