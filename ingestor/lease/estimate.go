package lease

import "math/bits"

// sizes estimates the 99th percentile of payload sizes from a decaying histogram with four buckets an octave, so that
// the estimate is at most 25 % too high.
type sizes struct {
	count [sizeBuckets]float64
	total float64
	p99   int64
}

const (
	sizeBuckets = 4 * 32
	// sizeWindow is the number of payloads after which older ones count half.
	sizeWindow = 4096
)

func bucketOf(n int64) int {
	if n < 4 {
		return int(max(n, 0))
	}
	octave := bits.Len64(uint64(n)) - 1
	b := (octave-1)*4 + int(n>>(octave-2))&3
	return min(b, sizeBuckets-1)
}

// upperOf is the largest size that falls into bucket b.
func upperOf(b int) int64 {
	if b < 4 {
		return int64(b)
	}
	octave, quarter := b/4+1, int64(b%4)
	return (4+quarter+1)<<(octave-2) - 1
}

// add counts items payloads of avg bytes each.
func (s *sizes) add(items int, avg int64) {
	s.count[bucketOf(avg)] += float64(items)
	s.total += float64(items)
	if s.total > 2*sizeWindow {
		for i := range s.count {
			s.count[i] /= 2
		}
		s.total /= 2
	}
	s.p99 = s.quantile(0.99)
}

func (s *sizes) quantile(q float64) int64 {
	rest := s.total * (1 - q)
	for b := sizeBuckets - 1; b >= 0; b-- {
		rest -= s.count[b]
		if rest < 0 {
			return upperOf(b)
		}
	}
	return 0
}
