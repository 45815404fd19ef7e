package delta

import (
	"strconv"
	"strings"
	"time"
)

// intProperty is a table property; false if it is absent or not a number.
func (s *Snapshot) intProperty(name string) (int64, bool) {
	if s.metadata == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(s.metadata.Configuration[name], 10, 64)
	return n, err == nil
}

// sizeProperty is a table property in bytes, such as "104857600" or "100mb", and fallback if it is absent or malformed.
func (s *Snapshot) sizeProperty(name string, fallback int64) int64 {
	text := strings.ToLower(strings.TrimSpace(s.metadata.Configuration[name]))
	unit := int64(1)
	for i, suffix := range []string{"kb", "mb", "gb", "tb", "k", "m", "g", "t", "b"} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text = rest
			if suffix != "b" {
				unit = 1 << (10 * (i%4 + 1))
			}
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 32+16)
	if err != nil || n <= 0 || n > 1<<62/unit {
		return fallback
	}
	return n * unit
}

// intervalProperty is a table property of the form "interval 1 week", and fallback if it is absent or malformed.
func (s *Snapshot) intervalProperty(name string, fallback time.Duration) time.Duration {
	d, ok := parseInterval(s.metadata.Configuration[name])
	if !ok {
		return fallback
	}
	return d
}

var intervalUnits = map[string]time.Duration{
	"microsecond": time.Microsecond, "millisecond": time.Millisecond, "second": time.Second, "minute": time.Minute,
	"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// parseInterval reads Spark's calendar intervals without months and years, such as "interval 2 weeks 12 hours".
func parseInterval(s string) (time.Duration, bool) {
	words := strings.Fields(strings.ToLower(s))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, false
	}
	total := time.Duration(0)
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 32)
		unit, ok := intervalUnits[strings.TrimSuffix(words[i+1], "s")]
		if err != nil || !ok || n < 0 {
			return 0, false
		}
		total += time.Duration(n) * unit
	}
	return total, total >= 0
}
