// Package parquet compares ways of writing Parquet from columns in memory, all in one run: weir's writer, parquet-go's
// column writers, arrow-go's column chunk writers, and arrow-go's record batches. It holds benchmarks only; ADR 0004 quotes
// them.
package parquet
