// Package parquet writes column batches as Parquet files and reads Parquet files as column batches.
//
// The schema of a file is known only at run time, so nothing here works on Go structs. The writer goes column by column:
// a vector's Valid run becomes definition levels, its values become pages, and a page is handed to the output as soon as
// it is full. Encodings, compression and the Thrift structures of the format are those of parquet-go; the assembly of
// pages is ours, see docs/adr/0004-parquet-library.md.
//
// The format is that of https://github.com/apache/parquet-format: data page V1, [Encodings], three-level lists, logical and
// converted types side by side, so that old and new readers agree on every column.
package parquet

import (
	"errors"
	"fmt"
)

// Codec is a compression of pages.
type Codec uint8

// The codecs of the writer. The reader knows gzip, LZ4_RAW and brotli too.
const (
	Zstd Codec = iota
	Snappy
	Uncompressed
)

// String returns the codec's name in the Parquet format.
func (c Codec) String() string {
	switch c {
	case Zstd:
		return "ZSTD"
	case Snappy:
		return "SNAPPY"
	case Uncompressed:
		return "UNCOMPRESSED"
	default:
		return fmt.Sprintf("Codec(%d)", uint8(c))
	}
}

// Defaults and bounds of the writer.
const (
	// DefaultRowGroupRows bounds a row group when [WriterOptions.RowGroupRows] is 0.
	DefaultRowGroupRows = 1 << 20
	// DefaultStatsColumns is Delta's default of delta.dataSkippingNumIndexedCols.
	DefaultStatsColumns = 32

	rowGroupBytes = 128 << 20 // of values in memory
	maxRowGroups  = 1<<15 - 1 // their ordinal has 16 bits; larger groups follow
	pageRows      = 20_000
	pageBytes     = 1 << 20 // of encoded values before compression; one larger value makes one larger page
)

// Encodings are those that a file uses for values.
type Encodings uint8

const (
	// EncodingsV2 are PLAIN, RLE_DICTIONARY and two of version 2 of the format: DELTA_BINARY_PACKED where it halves integers,
	// DELTA_LENGTH_BYTE_ARRAY for text and binary without a dictionary. Spark reads them since 3.4.
	EncodingsV2 Encodings = iota
	// EncodingsV1 are PLAIN and RLE_DICTIONARY, for old readers. Files are larger.
	EncodingsV1
)

// WriterOptions are the choices of one file. The zero value is a good default.
type WriterOptions struct {
	Codec        Codec
	Level        int       // of Zstd: 1 (fastest, also for 0) to 4 (smallest)
	RowGroupRows int       // 0 means DefaultRowGroupRows
	Encodings    Encodings // EncodingsV2 by default
	StatsColumns int       // columns with statistics, counted over leaves in schema order; 0 means 32, negative none

	pageRows, pageBytes int // smaller pages for tests; 0 means the constants
}

func (o WriterOptions) withDefaults() WriterOptions {
	if o.RowGroupRows <= 0 {
		o.RowGroupRows = DefaultRowGroupRows
	}
	if o.StatsColumns == 0 {
		o.StatsColumns = DefaultStatsColumns
	}
	if o.Level == 0 {
		o.Level = 1
	}
	if o.pageRows == 0 {
		o.pageRows, o.pageBytes = pageRows, pageBytes
	}
	return o
}

// FileInfo describes a file that Write made.
type FileInfo struct {
	Rows, Size int64 // rows; bytes
	Stats      Stats
}

// ErrMisfit is wrapped by errors about batches that do not fit the schema they are to be written in.
var ErrMisfit = errors.New("batch does not fit the schema")

// ErrCorrupt is wrapped by errors about files that are not valid Parquet.
var ErrCorrupt = errors.New("corrupt Parquet file")
