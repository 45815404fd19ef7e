package delta

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-dev/weir/delta/store"
)

// logDir holds the log, relative to the table.
const logDir = "_delta_log/"

const lastCheckpointKey = logDir + "_last_checkpoint"

// entryKey is the key of the log entry of a version.
func entryKey(version int64) string { return fmt.Sprintf("%s%020d.json", logDir, version) }

func checkpointKey(version int64) string {
	return fmt.Sprintf("%s%020d.checkpoint.parquet", logDir, version)
}

// logFile is what the name of a file of the log says.
type logFile struct {
	key     string
	version int64
	kind    fileKind
	part    int // multipart checkpoints, from 1
	parts   int
}

type fileKind uint8

const (
	otherFile fileKind = iota
	entryFile
	classicCheckpoint   // N.checkpoint.parquet
	multipartCheckpoint // N.checkpoint.PART.PARTS.parquet
	v2Checkpoint        // N.checkpoint.UUID.json or .parquet
)

// parseLogFile reads the name of a file of the log directory; key includes the directory.
func parseLogFile(key string) logFile {
	f := logFile{key: key}
	name := strings.TrimPrefix(key, logDir)
	digits, rest, ok := strings.Cut(name, ".")
	if !ok || len(digits) != 20 {
		return f
	}
	version, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || version < 0 {
		return f
	}
	f.version = version
	switch rest, isCheckpoint := strings.CutPrefix(rest, "checkpoint."); {
	case isCheckpoint:
		f.checkpoint(rest)
	case rest == "json":
		f.kind = entryFile
	}
	return f
}

func (f *logFile) checkpoint(rest string) {
	switch words := strings.Split(rest, "."); {
	case rest == "parquet":
		f.kind = classicCheckpoint
	case len(words) == 3 && words[2] == "parquet":
		part, perr := strconv.Atoi(words[0])
		parts, serr := strconv.Atoi(words[1])
		if perr == nil && serr == nil && part >= 1 && part <= parts {
			f.kind, f.part, f.parts = multipartCheckpoint, part, parts
		}
	case len(words) == 2 && (words[1] == "parquet" || words[1] == "json"):
		f.kind = v2Checkpoint
	}
}

func isJSON(key string) bool { return strings.HasSuffix(key, ".json") }

// sidecarKey is the key of a side file of a V2 checkpoint, from the path in its action: a name in _sidecars.
//
// Error: *PathError.
func sidecarKey(path string) (string, error) {
	name, err := url.PathUnescape(path)
	if err != nil || strings.Contains(name, "/") {
		return "", &PathError{path}
	}
	return logDir + "_sidecars/" + name, nil
}

// PathError says that a data file's path leads out of the table's store.
type PathError struct{ Path string }

func (e *PathError) Error() string {
	return fmt.Sprintf("data file %q is not below the table's directory: such tables (shallow clones) cannot be read", e.Path)
}

// DataKey is the store key of a data file, from the path in an action.
//
// Error: *PathError for a file outside of the table.
func DataKey(path string) (string, error) {
	if strings.Contains(path, ":") {
		if u, err := url.Parse(path); err == nil && u.Scheme != "" {
			return "", &PathError{path}
		}
	}
	key, err := url.PathUnescape(path)
	if err != nil {
		return "", fmt.Errorf("data file path: %w", err)
	}
	if err := store.CheckKey(key); err != nil {
		return "", &PathError{path}
	}
	return key, nil
}

// identity is by what two paths of actions name the same file: decoded, and for the local file system without the ways
// to write its scheme.
func identity(path string) string {
	if strings.IndexByte(path, '%') < 0 && !strings.HasPrefix(path, "file:") {
		return path
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return path // foreign and malformed: names only itself
	}
	if rest, ok := strings.CutPrefix(decoded, "file:"); ok {
		return "/" + strings.TrimLeft(rest, "/")
	}
	return decoded
}

// fileID is the key of file actions: a file with another deletion vector is another logical file.
func fileID(path string, dv *DeletionVector) string {
	id := identity(path)
	if dv == nil {
		return id
	}
	return id + "\x00" + dv.uniqueID()
}

func (d *DeletionVector) uniqueID() string {
	id := d.StorageType + d.PathOrInlineDV
	if d.Offset != nil {
		id += "@" + strconv.Itoa(int(*d.Offset))
	}
	return id
}

// encodePath encodes a key for an action as java.net.URI does for a path: bytes that need no escape stay. A colon, which
// may stand in a path, is escaped, since it could pass for the end of a scheme.
func encodePath(key string) string {
	const plain = "-_.!~*'()/@&=+$,;" // besides letters and digits
	var b strings.Builder
	b.Grow(len(key))
	for i := range len(key) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// escapeHive escapes a partition column's name or value for a directory name, as Hive and Spark do: control characters
// and what a file system or the form name=value could misread, as %XX. Beyond that it escapes all that is not ASCII, so
// that the path in the log has one spelling. Two would not do: Spark spells é as it is, and its VACUUM deletes a file of
// the table that the log spells %C3%A9; deltalake spells it %C3%A9, and its OPTIMIZE does not take out of the table a file
// that the log spells é.
func escapeHive(s string) string {
	const special = "\"#%'*/:=?\\\x7f{[]^"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// hiveNull is the directory name of null.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// partitionDir is the directory of a partition, with a slash at its end; empty for a table without partitions. Directory
// names are bounded by the file systems, so a long value stands there shortened: only the log's value counts.
func partitionDir(columns []string, values PartitionValues) string {
	const maxName = 200 // bytes, of the 255 that common file systems allow
	var b strings.Builder
	for _, c := range columns {
		value := hiveNull
		if v := values[c]; v != "" {
			value = escapeHive(v)
		}
		name := escapeHive(c) + "=" + value
		if len(name) > maxName {
			name = name[:maxName]
			if i := strings.LastIndexByte(name, '%'); i > maxName-3 { // half an escape
				name = name[:i]
			}
		}
		b.WriteString(name)
		b.WriteByte('/')
	}
	return b.String()
}
