package decode

// Times are read by the grammar of RFC 3339, with a space allowed for the T as its section 5.6 does. The years are 1 to
// 9999, the range of Spark and of most table readers; a leap second is refused.

const (
	microsPerSecond = 1_000_000
	secondsPerDay   = 86_400
)

// parseTimestamp reads a time with a zone: microseconds since 1970-01-01T00:00:00Z, further decimals are cut.
func parseTimestamp(s []byte) (micros int64, ok bool) {
	local, rest, ok := parseDateTime(s)
	if !ok {
		return 0, false
	}
	if len(rest) == 1 && rest[0]|0x20 == 'z' {
		return local, true
	}
	if len(rest) != 6 || rest[3] != ':' || rest[0] != '+' && rest[0] != '-' {
		return 0, false
	}
	h, okH := twoDigits(rest[1], rest[2])
	m, okM := twoDigits(rest[4], rest[5])
	if !okH || !okM || h > 23 || m > 59 {
		return 0, false
	}
	offset := int64(h*3600+m*60) * microsPerSecond
	if rest[0] == '-' {
		offset = -offset
	}
	micros = local - offset // which may be in the year before the first, or after the last
	return micros, micros >= minMicros && micros <= maxMicros
}

// parseLocalTimestamp reads a time without a zone: microseconds since 1970-01-01T00:00:00 of the same clock.
func parseLocalTimestamp(s []byte) (micros int64, ok bool) {
	micros, rest, ok := parseDateTime(s)
	return micros, ok && len(rest) == 0
}

// parseDateTime reads date and time of day and returns what follows.
func parseDateTime(s []byte) (micros int64, rest []byte, ok bool) {
	if len(s) < len("2006-01-02T15:04:05") || s[10]|0x20 != 't' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return 0, nil, false
	}
	days, ok := parseDate(s[:10])
	h, okH := twoDigits(s[11], s[12])
	m, okM := twoDigits(s[14], s[15])
	sec, okS := twoDigits(s[17], s[18])
	if !ok || !okH || !okM || !okS || h > 23 || m > 59 || sec > 59 {
		return 0, nil, false
	}
	fraction, rest, ok := parseFraction(s[19:])
	seconds := int64(days)*secondsPerDay + int64(h*3600+m*60+sec)
	return seconds*microsPerSecond + fraction, rest, ok
}

// parseFraction reads the decimals of a second, if there are any, in microseconds.
func parseFraction(s []byte) (micros int64, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '.' {
		return 0, s, true
	}
	i, unit := 1, int64(microsPerSecond/10)
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		micros += int64(s[i]-'0') * unit
		unit /= 10
	}
	return micros, s[i:], i > 1
}

// parseDate reads YYYY-MM-DD: days since 1970-01-01.
func parseDate(s []byte) (days int32, ok bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	century, ok1 := twoDigits(s[0], s[1])
	year, ok2 := twoDigits(s[2], s[3])
	month, ok3 := twoDigits(s[5], s[6])
	day, ok4 := twoDigits(s[8], s[9])
	year += 100 * century
	if !ok1 || !ok2 || !ok3 || !ok4 || year == 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	return daysFromCivil(year, month, day), true
}

func twoDigits(a, b byte) (int, bool) {
	a -= '0'
	b -= '0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysFromCivil counts the days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years are counted from
// March, so that the leap day is the last of its year; 153 days are five months from March on.
func daysFromCivil(year, month, day int) int32 {
	if month <= 2 {
		year--
		month += 12
	}
	const daysBefore1970 = 719_469 // from 0000-03-01 to 1970-01-01, plus one
	return int32(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - daysBefore1970)
}
