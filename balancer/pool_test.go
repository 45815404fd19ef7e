package balancer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/rsocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a network with servers that can be switched on and off, and the resolver that knows them.
type site struct {
	mu      sync.Mutex
	servers map[string]*siteServer
	answer  []Endpoint
	fail    error
	asked   atomic.Int64
	dials   []time.Time
}

type siteServer struct {
	listener *rsocket.MemoryListener
	server   *rsocket.Server
	served   chan error
}

func (s *site) Resolve(context.Context) ([]Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked.Add(1)
	return s.answer, s.fail
}

func (s *site) announce(err error, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.fail = nil, err
	for _, n := range names {
		s.answer = append(s.answer, Endpoint{ID: n, Addr: n})
	}
}

var errRefused = errors.New("connection refused")

func (s *site) dial(ctx context.Context, e Endpoint) (*rsocket.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, time.Now())
	srv := s.servers[e.Addr]
	s.mu.Unlock()
	if srv == nil {
		return nil, errRefused
	}
	nc, err := srv.listener.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return rsocket.NewClient(nc, rsocket.ClientOptions{})
}

func (s *site) start(name string) {
	srv := &siteServer{listener: rsocket.NewMemoryListener(), served: make(chan error, 1)}
	srv.server = rsocket.NewServer(rsocket.ServerOptions{})
	go func() { srv.served <- srv.server.Serve(context.Background(), srv.listener) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers[name] = srv
}

func (s *site) stop(t *testing.T, name string) {
	t.Helper()
	s.mu.Lock()
	srv := s.servers[name]
	delete(s.servers, name)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := srv.server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-srv.served; !errors.Is(err, rsocket.ErrServerClosed) {
		t.Error(err)
	}
}

// onSite runs a test in fake time with servers that are announced.
func onSite(t *testing.T, names []string, o Options, test func(t *testing.T, s *site, p *Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{servers: map[string]*siteServer{}}
		for _, n := range names {
			s.start(n)
		}
		s.announce(nil, names...)
		o.Resolver, o.Dial, o.Random = s, s.dial, seeded(5)
		p, err := NewPool(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		test(t, s, p)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for n := range s.servers {
			s.stop(t, n)
		}
	})
}

func states(p *Pool) map[string]State {
	all := map[string]State{}
	for _, n := range p.Status() {
		all[n.ID] = n.State
	}
	return all
}

func expect(t *testing.T, p *Pool, want map[string]State) {
	t.Helper()
	synctest.Wait()
	got := states(p)
	if len(got) != len(want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
	for id, s := range want {
		if got[id] != s {
			t.Errorf("pod %s is %v, want %v", id, got[id], s)
		}
	}
}

func node(t *testing.T, p *Pool, id string) *Node {
	t.Helper()
	for _, n := range p.Snapshot().Nodes {
		if n.ID == id {
			return n
		}
	}
	t.Fatalf("no pod %s", id)
	return nil
}

// A pod that leaves DNS drains until nothing is pending on it, half a minute at most, and comes back as if nothing had been.
func TestPodLeaves(t *testing.T) {
	onSite(t, []string{"a", "b", "c"}, Options{}, func(t *testing.T, s *site, p *Pool) {
		expect(t, p, map[string]State{"a": Ready, "b": Ready, "c": Ready})
		b, c := node(t, p, "b"), node(t, p, "c")
		conn := b.Conn()
		b.Load.Begin(3)
		c.Load.Begin(1)
		s.announce(nil, "a")
		time.Sleep(7 * time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready, "b": Draining, "c": Draining})
		for range 100 {
			if n, _, err := p.Pick(t.Context()); err != nil || n.ID != "a" {
				t.Fatalf("picked %v, %v", n.ID, err)
			}
		}
		s.announce(nil, "a", "b")
		time.Sleep(7 * time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready, "b": Ready, "c": Draining})
		if b.Conn() != conn {
			t.Error("the connection was made again")
		}
		s.announce(nil, "a")
		time.Sleep(7 * time.Second) //nolint:forbidigo // fake time
		c.Load.End(1)
		time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready, "b": Draining})
		time.Sleep(20 * time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready, "b": Draining})
		time.Sleep(12 * time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready})
		if _, err := b.Await(t.Context()); !errors.Is(err, ErrGone) {
			t.Errorf("a pod that is gone: %v", err)
		}
	})
}

// Empty and failing answers change nothing, and are asked for again with back-off.
func TestEmptyAnswers(t *testing.T) {
	stats := new(Stats)
	onSite(t, []string{"a", "b"}, Options{Stats: stats}, func(t *testing.T, s *site, p *Pool) {
		for _, err := range []error{nil, errors.New("server misbehaving")} {
			s.announce(err)
			before := s.asked.Load()
			time.Sleep(time.Minute) //nolint:forbidigo // fake time
			expect(t, p, map[string]State{"a": Ready, "b": Ready})
			if n := s.asked.Load() - before; n < 8 || n > 60 {
				t.Errorf("asked %d times in a minute", n)
			}
		}
		if stats.Losses.Load() != 0 || stats.Dials.Load() != 2 {
			t.Errorf("%d lost, %d dialed", stats.Losses.Load(), stats.Dials.Load())
		}
	})
}

// A new pod is connected within the time between two questions; after a lost connection the next question is soon.
func TestPodJoins(t *testing.T) {
	onSite(t, []string{"a"}, Options{Refresh: time.Minute}, func(t *testing.T, s *site, p *Pool) {
		s.start("b")
		s.announce(nil, "b")
		s.stop(t, "a")
		time.Sleep(2 * time.Second) //nolint:forbidigo // fake time
		if n, _, err := p.Pick(t.Context()); err != nil || n.ID != "b" {
			t.Errorf("picked %v, %v", n, err)
		}
	})
}

// A lost connection takes its pod out at once, and is tried again after 100 ms, doubled, 10 s at most, each a random part.
func TestReconnect(t *testing.T) {
	onSite(t, []string{"a", "b"}, Options{}, func(t *testing.T, s *site, p *Pool) {
		s.stop(t, "b")
		expect(t, p, map[string]State{"a": Ready, "b": Connecting})
		s.mu.Lock()
		s.dials = nil
		s.mu.Unlock()
		time.Sleep(10 * time.Minute) //nolint:forbidigo // fake time
		s.mu.Lock()
		dials := slices.Clone(s.dials)
		s.mu.Unlock()
		if n := len(dials); n < 80 || n > 200 { // 5 s is the mean of the longest wait
			t.Errorf("%d attempts in ten minutes", n)
		}
		for i := 1; i < len(dials); i++ {
			if d := dials[i].Sub(dials[i-1]); d > 10*time.Second+time.Millisecond {
				t.Errorf("%v between two attempts", d)
			}
		}
		if err := p.Err(); !errors.Is(err, errRefused) {
			t.Errorf("the reason is %v", err)
		}
		s.start("b")
		time.Sleep(11 * time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready, "b": Ready})
	})
}

// A pod that says it drains is not picked until it has another connection, or takes something again.
func TestRetire(t *testing.T) {
	onSite(t, []string{"a", "b"}, Options{}, func(t *testing.T, s *site, p *Pool) {
		b := node(t, p, "b")
		conn := b.Conn()
		b.Retire(conn)
		expect(t, p, map[string]State{"a": Ready, "b": Draining})
		b.Revive(conn)
		expect(t, p, map[string]State{"a": Ready, "b": Ready})
		b.Retire(conn)
		s.stop(t, "b")
		s.start("b")
		time.Sleep(time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready, "b": Ready})
		b.Retire(conn) // an old one says nothing
		expect(t, p, map[string]State{"a": Ready, "b": Ready})
	})
}

// With nobody ready a Pick waits, until one is or its context ends.
func TestPickWaits(t *testing.T) {
	onSite(t, []string{"a"}, Options{}, func(t *testing.T, s *site, p *Pool) {
		s.stop(t, "a")
		synctest.Wait() // until the pool knows
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := p.Pick(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		picked := make(chan error, 1)
		go func() {
			_, _, err := p.Pick(context.Background())
			picked <- err
		}()
		synctest.Wait()
		s.start("a")
		if err := <-picked; err != nil {
			t.Error(err)
		}
	})
}

// The same name at another address is another process.
func TestPodMoves(t *testing.T) {
	onSite(t, []string{"a"}, Options{}, func(t *testing.T, s *site, p *Pool) {
		old := node(t, p, "a")
		s.start("elsewhere")
		s.mu.Lock()
		s.answer = []Endpoint{{ID: "a", Addr: "elsewhere"}}
		s.mu.Unlock()
		time.Sleep(7 * time.Second) //nolint:forbidigo // fake time
		expect(t, p, map[string]State{"a": Ready})
		if n := node(t, p, "a"); n == old || n.Addr() != "elsewhere" || old.State() != Gone {
			t.Errorf("%s at %s, before %v", n.ID, n.Addr(), old.State())
		}
	})
}

func TestNoPodsAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{servers: map[string]*siteServer{}}
		if _, err := NewPool(t.Context(), Options{Resolver: s, Dial: s.dial}); !errors.Is(err, ErrNoPods) {
			t.Errorf("%v", err)
		}
		s.announce(nil, "a", "b")
		p, err := NewPool(t.Context(), Options{Resolver: s, Dial: s.dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Await(t.Context()); !errors.Is(err, errRefused) {
			t.Errorf("nobody answers: %v", err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, _, err := p.Pick(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// Whatever the answers: what they name is wanted, up to the bound; what they do not name drains and goes in time, or comes
// back; an empty one changes nothing; nobody is forgotten who is named.
func TestMembersByAnyAnswers(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e", "f"}
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 6).Draw(t, "max")
		m := &members{seed: rapid.Uint64().Draw(t, "seed"), max: most, drainWait: 30 * time.Second, byID: map[string]*member{}}
		now := time.Duration(0)
		for range 40 {
			now += time.Duration(rapid.IntRange(0, 20).Draw(t, "s")) * time.Second
			named := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 6, rapid.ID).Draw(t, "named")
			var answer []Endpoint
			for _, id := range named {
				answer = append(answer, Endpoint{ID: id, Addr: id})
			}
			c := m.apply(answer, now)
			if len(named) == 0 && len(c.joined)+len(c.drained)+len(c.back)+len(c.moved) > 0 {
				t.Fatal("an empty answer changed something")
			}
			wanted := 0
			for id, mb := range m.byID {
				if !mb.draining {
					wanted++
				}
				if len(named) > 0 && !mb.draining != slices.Contains(idsOf(m.subset(answer)), id) {
					t.Fatalf("%s draining: %v, named %v", id, mb.draining, named)
				}
			}
			if len(named) > 0 && wanted != min(most, len(named)) {
				t.Fatalf("%d wanted of %d named, at most %d", wanted, len(named), most)
			}
			pending := int64(rapid.IntRange(0, 1).Draw(t, "pending"))
			for _, mb := range m.leaving(now, func(string) int64 { return pending }) {
				if !mb.draining || pending > 0 && now-mb.since < 30*time.Second {
					t.Fatalf("%s went after %v with %d pending", mb.ID, now-mb.since, pending)
				}
			}
		}
	})
}

func idsOf(all []Endpoint) (ids []string) {
	for _, e := range all {
		ids = append(ids, e.ID)
	}
	return ids
}

// Of many pods each client has its own, and a pod that goes changes one connection of those that had it.
func TestSubset(t *testing.T) {
	var all []Endpoint
	for i := range 100 {
		id := string(rune('a'+i/26)) + string(rune('a'+i%26))
		all = append(all, Endpoint{ID: id, Addr: id})
	}
	used := map[string]int{}
	for seed := range uint64(1000) {
		m := &members{seed: seed * 0x9e3779b97f4a7c15, max: 12}
		before := idsOf(m.subset(all))
		for _, id := range before {
			used[id]++
		}
		after := idsOf(m.subset(all[1:]))
		lost := 0
		for _, id := range before {
			if !slices.Contains(after, id) {
				lost++
			}
		}
		if lost > 1 || len(after) != 12 {
			t.Fatalf("%d of %d changed", lost, len(after))
		}
	}
	for id, n := range used { // 120 are expected
		if n < 70 || n > 180 {
			t.Errorf("pod %s is used by %d of 1000 clients", id, n)
		}
	}
}
