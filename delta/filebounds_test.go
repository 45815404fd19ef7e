package delta

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/schema"
)

// Spark writes the bounds of a float as the shortest text of 32 bits. Read as a double, 0.7 is above the value it stands for,
// and a file with that value would be left out of what is deleted WHERE f < 0.7.
func TestBoundsOfFloats(t *testing.T) {
	low, ok := statsValue(&schema.Type{Kind: schema.Float}, []byte("0.7"), false)
	if value := float64(float32(0.7)); !ok || low.f > value {
		t.Errorf("the lower bound is %v (%t), above the value %v", low.f, ok, value)
	}
	low, ok = statsValue(&schema.Type{Kind: schema.Double}, []byte("0.7"), false) // of a column that was float when it was written
	if value := float64(float32(0.7)); !ok || low.f > value || low.f < value-1e-6 {
		t.Errorf("the lower bound of doubles is %v (%t), above the value %v or far below", low.f, ok, value)
	}
}

// deltalake writes the bounds of decimals as doubles, which hold some 16 digits of 38: a merge that took them at their word
// would overlook the row, and put its key in twice.
func TestBoundsOfWideDecimals(t *testing.T) {
	wide := &schema.Type{Kind: schema.Decimal, Precision: 38}
	for _, c := range []struct{ value, bound string }{
		{"99999999999999999999999999999999999999", "1e38"},
		{"12345678901234567890123456789012345678", "1.2345678901234567e37"},
		{"-12345678901234567890123456789012345678", "-1.2345678901234567e37"},
		{"12345678901234567899999999999999999999", "1.2345678901234569e37"},
	} {
		value, _ := new(big.Rat).SetString(c.value)
		low, _ := statsValue(wide, []byte(c.bound), false)
		high, _ := statsValue(wide, []byte(c.bound), true)
		if low.r.Cmp(value) > 0 || high.r.Cmp(value) < 0 {
			t.Errorf("%s is not within %s to %s, the bounds of %s", c.value, low.r.FloatString(0), high.r.FloatString(0), c.bound)
		}
	}
	exact := &schema.Type{Kind: schema.Decimal, Precision: 15, Scale: 2}
	if low, _ := statsValue(exact, []byte("12.34"), false); low.r.Cmp(big.NewRat(1234, 100)) != 0 {
		t.Errorf("the bound of a decimal that a double holds is %s", low.r)
	}
}

// The number of rows comes from the log: none may keep the loop that sizes a filter busy for ever.
func TestFilterBytesOfAnyNumber(t *testing.T) {
	for _, keys := range []int64{1 << 40, 1 << 57, 1 << 58, 3 << 58, 1 << 62, math.MaxInt64} {
		if got := filterBytes(keys); got < defaultFilterMemory {
			t.Errorf("a filter of %d keys would take %d bytes", keys, got)
		}
	}
}

// A decimal of a billion digits is not written out.
func TestBoundsThatCostTooMuch(t *testing.T) {
	d := &schema.Type{Kind: schema.Decimal, Precision: 38, Scale: 2}
	for _, text := range []string{"1e9999999", "-1e-9999999", strings.Repeat("9", 1<<20)} {
		if _, ok := statsValue(d, []byte(text), true); ok {
			t.Errorf("%.20s is taken for a decimal", text)
		}
	}
}
