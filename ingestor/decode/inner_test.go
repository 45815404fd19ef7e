package decode

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// TestFoldIsCoarse checks that names which any reader takes for one fold to one: those that match when lower-cased, and
// those that are equal under Unicode's simple case folding.
func TestFoldIsCoarse(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if l := unicode.ToLower(r); foldRune(l) != foldRune(r) {
			t.Errorf("%U and %U, its lower case, fold to %U and %U", r, l, foldRune(r), foldRune(l))
		}
		if f := unicode.SimpleFold(r); foldRune(f) != foldRune(r) {
			t.Errorf("%U and %U, of one case folding, fold to %U and %U", r, f, foldRune(r), foldRune(f))
		}
	}
}

// TestDates compares every day of the supported years with package time.
func TestDates(t *testing.T) {
	day := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for ; day.Year() <= 9999; day = day.AddDate(0, 0, 1) {
		text := day.Format(time.DateOnly)
		got, ok := parseDate([]byte(text))
		if want := int32(day.Unix() / secondsPerDay); !ok || got != want && day.Unix()%secondsPerDay == 0 {
			t.Fatalf("%s: %d, %t, want %d", text, got, ok, want)
		}
	}
	for _, bad := range []string{"0000-01-01", "2026-02-29", "2100-02-29", "2026-04-31", "2026-00-01", "2026-01-00", "2026-1-01", "2026/01/01", "+026-01-01", "10000-01-01"} {
		if _, ok := parseDate([]byte(bad)); ok {
			t.Errorf("%s is taken for a date", bad)
		}
	}
}

func TestTimestamps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", 60*rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone"))
		at := time.Date(rapid.IntRange(2, 9998).Draw(t, "year"), 1, rapid.IntRange(1, 366).Draw(t, "day"), 0, 0,
			rapid.IntRange(0, secondsPerDay-1).Draw(t, "second"), rapid.IntRange(0, 1e9-1).Draw(t, "nanosecond"), zone)
		text := []byte(at.Format(time.RFC3339Nano))
		if got, ok := parseTimestamp(text); !ok || got != at.UnixMicro() {
			t.Fatalf("%s: %d, %t, want %d", text, got, ok, at.UnixMicro())
		}
		cut := rapid.IntRange(0, len(text)-1).Draw(t, "cut")
		if _, ok := parseTimestamp(text[:cut]); ok {
			t.Fatalf("%s is taken for a timestamp", text[:cut])
		}
		text[cut] = rapid.Byte().Draw(t, "other")
		if _, ok := parseTimestamp(text); ok {
			text[10] = 'T'
			if _, err := time.Parse(time.RFC3339Nano, strings.ToUpper(string(text))); err != nil {
				t.Fatalf("%q is taken for a timestamp: %v", text, err)
			}
		}
	})
}

// TestTimestampsAtTheRim: a zone may lead out of the years that readers take.
func TestTimestampsAtTheRim(t *testing.T) {
	for text, want := range map[string]bool{
		"0001-01-01T00:00:00Z": true, "0001-01-01T00:00:00-01:00": true, "0001-01-01T00:00:00+01:00": false,
		"9999-12-31T23:59:59.999999Z": true, "9999-12-31T23:59:59+01:00": true, "9999-12-31T23:59:59-01:00": false,
	} {
		if _, ok := parseTimestamp([]byte(text)); ok != want {
			t.Errorf("%s: %t", text, ok)
		}
	}
}

// TestNumbers compares the scanner and all conversions with math/big.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(rapid.StringMatching(`-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number"))
		exact, _ := new(big.Rat).SetString(string(text))
		n, ok := scanNumber(text, 0)
		if !ok || n.end != len(text) {
			t.Fatalf("scanned %+v, %t", n, ok)
		}
		i, ok := n.int64(text)
		if want := exact.IsInt() && exact.Num().IsInt64(); ok != want || ok && i != exact.Num().Int64() {
			t.Fatalf("int64 %d, %t", i, ok)
		}
		f, ok := n.float64(text)
		want, _ := exact.Float64()
		if n.integer && ok != (new(big.Rat).SetFloat64(want).Cmp(exact) == 0) || !n.integer && !ok || ok && f != want {
			t.Fatalf("float64 %g, %t, want %g", f, ok, want)
		}
		precision := rapid.IntRange(1, 38).Draw(t, "precision")
		scale := rapid.IntRange(0, precision).Draw(t, "scale")
		unscaled := new(big.Rat).Mul(exact, new(big.Rat).SetInt(pow10(scale)))
		hi, lo, ok := n.decimal(text, precision, scale)
		if fits := unscaled.IsInt() && unscaled.Num().CmpAbs(pow10(precision)) < 0; ok != fits {
			t.Fatalf("decimal(%d,%d) %t, want %t", precision, scale, ok, fits)
		}
		got := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(hi), 64), new(big.Int).SetUint64(lo))
		if ok && got.Cmp(unscaled.Num()) != 0 {
			t.Fatalf("decimal(%d,%d) %s, want %s", precision, scale, got, unscaled)
		}
	})
}

func TestFloat32(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(rapid.StringMatching(`-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,20})?([eE][+-]?[0-9])?`).Draw(t, "number"))
		n, _ := scanNumber(text, 0)
		x, err := strconv.ParseFloat(string(text), 32)
		if err != nil {
			t.Fatal(err)
		}
		exact, _ := new(big.Rat).SetString(string(text))
		want := !n.integer || new(big.Rat).SetFloat64(x).Cmp(exact) == 0
		if f, ok := n.float32(text); ok != want || ok && float64(f) != x {
			t.Fatalf("%g, %t, want %g, %t", f, ok, x, want)
		}
	})
}

// TestTextAtEveryOffset puts each special byte at each place of a string, at each place of the eight bytes looked at.
func TestTextAtEveryOffset(t *testing.T) {
	for length := range 40 {
		for at := range length + 1 {
			plain := strings.Repeat("x", at)
			rest := strings.Repeat("y", length-at)
			for _, c := range []struct {
				text      string
				end, kind int
			}{
				{plain + rest + `"`, length, plainText},
				{plain + `é` + rest + `"`, length + 2, utf8Text},
				{plain + `\"` + rest + `"`, length + 2, escapedText},
				{plain + `\\` + rest + `"`, length + 2, escapedText},
				{plain + `é\n` + rest + `"`, length + 4, escapedText},
				{plain + "\x1f" + rest + `"`, controlText, 0},
				{plain + "\x80" + rest + `"`, notUTF8Text, 0},
				{plain + "\xed\xa0\x80" + rest + `"`, notUTF8Text, 0},
				{plain + rest, unclosedText, 0},
				{plain + rest + `\"`, unclosedText, 0},
				{plain + rest + `\`, unclosedText, 0},
			} {
				end, kind, bad := scanText([]byte(c.text+strings.Repeat(" ", length%9)), 0)
				if end != c.end || kind != c.kind && end >= 0 {
					t.Fatalf("%q: end %d, kind %d, want %d, %d", c.text, end, kind, c.end, c.kind)
				}
				if (end == controlText || end == notUTF8Text) && bad != at {
					t.Fatalf("%q: bad byte at %d, want %d", c.text, bad, at)
				}
			}
		}
	}
}

func TestReasonsAreShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return rapid.StringN(0, 400, 800).Draw(t, label) }
		r := reason([]byte(text("path")), rapid.Int().Draw(t, "offset"), text("what"), text("advice"))
		if len(r) > maxReasonBytes {
			t.Fatalf("%d bytes", len(r))
		}
		for _, c := range r {
			if !unicode.IsPrint(c) {
				t.Fatalf("%U in %q", c, r)
			}
		}
	})
}

// TestValidText compares validText and isASCII with a look at each byte, for every place of a byte that is not ASCII, with and
// without blocks.
func TestValidText(t *testing.T) {
	had := hasBlocks
	t.Cleanup(func() { hasBlocks = had })
	for _, blocks := range []bool{false, had} {
		hasBlocks = blocks
		for n := range 150 {
			text := []byte(strings.Repeat("x", n))
			if !isASCII(text) || !validText(text) {
				t.Fatalf("blocks %t: %d bytes of ASCII are refused", blocks, n)
			}
			for at := range n {
				for _, c := range []string{"\x80", "\xff", "\xc3", "é", "世"} {
					b := append(append(append([]byte{}, text[:at]...), c...), text[at:]...)
					if got, want := validText(b), utf8.Valid(b); got != want || isASCII(b) {
						t.Fatalf("blocks %t, %q at %d of %d: valid %t, want %t; ASCII %t, want false", blocks, c, at, n, got, want, isASCII(b))
					}
				}
			}
		}
	}
}

// TestCopyText compares copyText with a look at each byte, for every place at which a text can end, with and without
// blocks.
func TestCopyText(t *testing.T) {
	had := hasBlocks
	t.Cleanup(func() { hasBlocks = had })
	plain := []byte(strings.Repeat("the quick brown fox ~!#[]^`{|}", 6))
	ends := []byte{'"', '\\', '\n', 0, 0x1f, 0x7f, 0x80, 0xc3, 0xff, ' ', '!', '#', '[', ']'}
	for _, blocks := range []bool{false, had} {
		hasBlocks = blocks
		for at := range plain {
			for _, c := range ends {
				src := append([]byte{}, plain...)
				src[at] = c
				dst := make([]byte, len(src)+8)
				count, ok := copyText(dst, src)
				wantCount := strings.IndexFunc(string(src), func(r rune) bool { return r == '"' || r == '\\' || r < ' ' || r >= 0x80 })
				if wantCount < 0 {
					wantCount = len(src)
				}
				if wantOK := wantCount < len(src) && src[wantCount] == '"'; count != wantCount || ok != wantOK {
					t.Fatalf("blocks %t, %#x at %d: %d, %t, want %d, %t", blocks, c, at, count, ok, wantCount, wantOK)
				}
				if string(dst[:count]) != string(src[:count]) || !slices.Equal(dst[len(src):], make([]byte, 8)) {
					t.Fatalf("blocks %t, %#x at %d: copied %q", blocks, c, at, dst)
				}
			}
		}
	}
}

// TestAppendText has texts of every length around that of short ones, with each kind of byte at each place in them and just
// behind them, where it does not count, and in columns with and without room.
func TestAppendText(t *testing.T) {
	plain := []byte(strings.Repeat("the quick brown fox ~!#[]^`{|}", 3))
	for n := range 2*shortText + 2 {
		for at := 0; at <= n; at++ {
			for _, c := range []string{"x", "\x00", "\x7f", "\x80", "\xff", "é", "日"} {
				b := slices.Concat(plain[:3+at], []byte(c), plain[3+at:])
				for _, room := range []int{0, shortText - 1, 200} {
					v := column.New(&schema.Type{Kind: schema.String})
					v.Data = append(make([]byte, 0, 5+room), "first"...)
					v.Offsets = append(v.Offsets, 5)
					v.Len = 1
					want := utf8.Valid(b[3 : 3+n])
					if got := appendText(v, b[:min(len(b), 3+n+room)], 3, n); got != want {
						t.Fatalf("%q at %d of %d: %t", c, at, n, got)
					}
					if !want {
						if v.Len != 1 || string(v.Data) != "first" {
							t.Fatalf("%q at %d of %d: it is there", c, at, n)
						}
						continue
					}
					if got := string(v.Data); v.Len != 2 || got != "first"+string(b[3:3+n]) || int(v.Offsets[2]) != 5+n {
						t.Fatalf("%q at %d of %d: got %q", c, at, n, got)
					}
				}
			}
		}
	}
}
