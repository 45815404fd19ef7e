package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
)

func newPipeline(uri string) *Pipeline {
	p := &Pipeline{Spec: PipelineSpec{Sink: SinkSpec{Delta: &DeltaSink{URI: uri}}}}
	p.Name = "clicks"
	return p
}

func TestTheLeastPipelineIsValid(t *testing.T) {
	p := newPipeline("clicks")
	SetDefaults(p)
	if errs := Validate(p); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestSetDefaultsKeepsWhatIsSet(t *testing.T) {
	p := newPipeline("clicks")
	zero, small := int32(0), resource.MustParse("1")
	p.Spec.Ingress.RSocket.Port, p.Spec.Flow.Memory = &zero, &small
	p.Spec.Sink.Delta.Compression = CompressionNone
	SetDefaults(p)
	if *p.Spec.Ingress.RSocket.Port != 0 || p.Spec.Flow.Memory.Value() != 1 || p.Spec.Sink.Delta.Compression != CompressionNone {
		t.Errorf("set fields were changed: %+v", p.Spec)
	}
	once := p.DeepCopy()
	SetDefaults(p)
	if diff := cmp.Diff(once, p); diff != "" {
		t.Errorf("setting defaults twice changes (-once +twice):\n%s", diff)
	}
}

func TestDefaultsAreNotShared(t *testing.T) {
	a, b := newPipeline("a"), newPipeline("b")
	SetDefaults(a)
	SetDefaults(b)
	*a.Spec.Ingress.RSocket.Port = 1
	a.Spec.Flow.Memory.Set(1)
	if *b.Spec.Ingress.RSocket.Port != 7000 || b.Spec.Flow.Memory.String() != "256Mi" {
		t.Errorf("a change of one pipeline changed another: %+v", b.Spec)
	}
}

func TestValidateURI(t *testing.T) {
	tests := map[string]bool{
		"clicks": true, "./clicks": true, "/data/clicks": true, "../a b": true, "a:b": true, "file:///data/clicks": true, "file:///a%20b": true,
		"s3://tables": true, "s3://tables/": true, "s3a://my.tables/a b/c=1": true, "gs://my_tables/clicks": true, "az://tables/clicks/": true,
		"abfss://tables@weir.dfs.core.windows.net/clicks": true, "abfss://tables/clicks": false, "s3://b/clicks": false, "s3://Tables/x": false,
		"s3://tables//x": false, "s3://tables/./x": false, "s3://tables/..": false, "s3://tables/a%20b": false, "s3://tables/a?b": false,
		"s3://key:secret@tables/x": false, "hdfs://host/x": false, "": false, "s3:/b": false, "file://data": false, "file:/data": false, "file:///%zz": false,
	}
	for uri, good := range tests {
		p := newPipeline(uri)
		SetDefaults(p)
		if errs := Validate(p); len(errs) == 0 != good {
			t.Errorf("%q: %v; want it accepted: %t", uri, errs, good)
		}
	}
}

func TestValidateQuantities(t *testing.T) {
	tests := map[string]bool{"1.5Gi": true, "1e9": true, "33.3M": false, "32Mi": true, "1Ti": true, "9Ei": false, "-1": false}
	for memory, good := range tests {
		p := newPipeline("clicks")
		q := resource.MustParse(memory)
		p.Spec.Flow.Memory = &q
		SetDefaults(p)
		if errs := Validate(p); len(errs) == 0 != good {
			t.Errorf("memory %s: %v; want it accepted: %t", memory, errs, good)
		}
	}
}

func TestAddToScheme(t *testing.T) {
	s := runtime.NewScheme()
	if err := AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{Kind, "PipelineList"} {
		if !s.Recognizes(GroupVersion().WithKind(kind)) {
			t.Errorf("the scheme does not know %s", kind)
		}
	}
}
