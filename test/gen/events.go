package gen

import "time"

// IDBase is the id of event 0. Ids have ten digits up to event 8,999,999,999.
const IDBase = 1_000_000_000

// IDOffset is where the ten digits of the id stand in an event; a benchmark reuses events by writing new ones there.
const IDOffset = len(`{"id":`)

// MinSize is the least [Events.Size]: the longest event without padding is shorter.
const MinSize = 960

// Events is the varied event of the benchmarks: ids, timestamps, words of low cardinality, free text, numbers, flags, a
// few nested structs, arrays, unicode and nulls.
type Events struct {
	Seed uint64
	Size int // bytes of each event, at least MinSize; 0 is 1024
}

var (
	types     = []string{"page_view", "click", "search", "add_to_cart", "checkout", "payment", "refund", "login", "logout", "signup", "error", "heartbeat"}
	sources   = []string{"web", "ios", "android", "server"}
	countries = []string{"DE", "FR", "US", "BR", "JP", "IN", "NG", "PL", "SE", "ES", "IT", "CN", "KR", "MX", "ZA", "AU"}
	cities    = []string{"München", "Paris", "São Paulo", "東京", "Łódź", "Göteborg", "Zürich", "Mexico City", "서울", "Ibadan"}
	names     = []string{"Ana Müller", "Jürgen Groß", "Zoë O'Neil", "山田太郎", "Søren Kjær", "Nguyễn An", "Maria da Conceição", "John Smith"}
	plans     = []string{"free", "basic", "pro", "enterprise"}
	systems   = []string{"iOS", "Android", "Windows", "macOS", "Linux"}
	tags      = []string{"new", "sale", "mobile", "beta", "vip", "übersicht", "a/b", "retry"}
	words     = []string{"order", "was", "shipped", "to", "customer", "with", "delay", "because", "carrier", "lost", "package", "in", "transit", "please", "retry", "later", "thank", "you", "payment", "accepted", "invoice", "pending", "review", "warehouse", "north", "south"}
	epoch     = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
)

const micros = "2006-01-02T15:04:05.000000Z07:00"

// Append appends event i, one JSON object of exactly Size bytes without a newline.
func (e Events) Append(dst []byte, i int64) []byte {
	start := len(dst)
	l := &line{b: append(dst, '{'), r: at(e.Seed, i)}
	l.long("id", IDBase+i)
	l.uuid("event_id")
	l.time("ts", epoch.Add(time.Duration(i)*1371*time.Microsecond), micros)
	l.string("type", pick(&l.r, types))
	l.string("source", pick(&l.r, sources))
	l.string("country", pick(&l.r, countries))
	l.user()
	l.device()
	l.place()
	l.measures()
	l.lists()
	size := e.Size
	if size == 0 {
		size = 1024
	}
	l.pad(start + size)
	return l.b
}

func (l *line) user() {
	if l.r.one(20) {
		l.raw("user", "null")
		return
	}
	l.open("user", '{')
	l.long("id", int64(l.r.n(5_000_000)))
	l.string("name", pick(&l.r, names))
	l.string("plan", pick(&l.r, plans))
	l.time("created", epoch.Add(-time.Duration(l.r.n(90_000_000))*time.Second), time.RFC3339)
	l.decimal("score", int64(l.r.n(1_000_000)), 6)
	l.close('}')
}

func (l *line) device() {
	l.open("device", '{')
	l.string("os", pick(&l.r, systems))
	l.long("width", int64(320+l.r.n(2240)))
	l.bool("touch", l.r.one(2))
	l.close('}')
}

func (l *line) place() {
	l.open("geo", '{')
	l.decimal("lat", int64(l.r.n(180_000_000)-90_000_000), 6)
	l.decimal("lon", int64(l.r.n(360_000_000)-180_000_000), 6)
	l.string("city", pick(&l.r, cities))
	l.close('}')
}

func (l *line) measures() {
	l.decimal("amount", int64(l.r.n(1_000_000)), 2)
	l.long("quantity", int64(1+l.r.n(9)))
	l.long("duration_ms", int64(l.r.n(60_000)))
	l.bool("ok", !l.r.one(10))
	if l.r.one(10) {
		l.string("error", pick(&l.r, words))
	} else {
		l.raw("error", "null")
	}
}

func (l *line) lists() {
	l.open("tags", '[')
	for range l.r.n(4) {
		l.comma()
		l.quote(pick(&l.r, tags))
	}
	l.close(']')
	l.open("items", '[')
	for range 1 + l.r.n(2) {
		l.comma()
		l.b = append(l.b, '{')
		l.long("sku", int64(l.r.n(100_000)))
		l.decimal("price", int64(l.r.n(100_000)), 2)
		l.close('}')
	}
	l.close(']')
}

// pad closes the object with a text that ends it at length end.
func (l *line) pad(end int) {
	l.key("message")
	l.b = append(l.b, '"')
	end -= len(`"}`)
	for len(l.b) < end {
		l.b = append(l.b, pick(&l.r, words)...)
		l.b = append(l.b, ' ')
	}
	l.b = append(l.b[:end], `"}`...)
}
