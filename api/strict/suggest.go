package strict

import (
	"fmt"
	"strings"
)

// closest returns the one of known that name was most likely meant to be, or "".
func closest(name string, known []string) string {
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// maxMisspelt bounds the work for one name; no field is nearly as long.
const maxMisspelt = 64

// distance is the number of bytes to insert, delete, replace or swap with their neighbour to make b of a (optimal string
// alignment). Of names longer than maxMisspelt it is their length.
func distance(a, b string) int {
	if len(a) > maxMisspelt || len(b) > maxMisspelt {
		return max(len(a), len(b))
	}
	var rows [3][maxMisspelt + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// unknownField says what to do about a field that s, which stands at path, does not have. Paths start with top. The
// second result is the field that was meant, if it is one of s.
func unknownField(s *schema, top, path, name string) (message, meant string) {
	if meant := closest(name, s.fields()); meant != "" {
		return fmt.Sprintf("unknown field, did you mean %q?", meant), meant
	}
	if elsewhere := pipelineSchema().pathsOf(name, top); len(elsewhere) > 0 {
		return "unknown field here, did you mean " + strings.Join(elsewhere, " or ") + "?", ""
	}
	if path == "" {
		path = "a Pipeline"
	}
	if len(s.Properties) == 0 {
		return fmt.Sprintf("unknown field: %s is %s and has none", path, withArticle(s.typeName())), ""
	}
	return fmt.Sprintf("unknown field: %s has %s", path, strings.Join(s.fields(), ", ")), ""
}
