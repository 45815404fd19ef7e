package data

import (
	"bufio"
	"encoding/json"
	"testing"
	"time"
)

func TestFlightsJanuary(t *testing.T) {
	t.Parallel()
	r, err := FlightsJanuary()
	if err != nil {
		t.Fatal(err)
	}
	rows, cancelled := 0, 0
	for lines := bufio.NewScanner(r); lines.Scan(); rows++ {
		var row struct {
			Year     int       `json:"year"`
			Month    int       `json:"month"`
			DepTime  *int      `json:"dep_time"`
			Origin   string    `json:"origin"`
			TimeHour time.Time `json:"time_hour"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("row %d: %v", rows, err)
		}
		if row.Year != 2013 || row.Month != 1 || len(row.Origin) != 3 || row.TimeHour.IsZero() {
			t.Fatalf("row %d is not a flight of January 2013: %s", rows, lines.Bytes())
		}
		if row.DepTime == nil {
			cancelled++
		}
	}
	if rows != FlightsRows || cancelled != FlightsCancelled {
		t.Errorf("%d rows, %d cancelled; want %d and %d", rows, cancelled, FlightsRows, FlightsCancelled)
	}
}
