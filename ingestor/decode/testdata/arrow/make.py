import pyarrow as pa, pyarrow.ipc as ipc, decimal, datetime, sys
d=decimal.Decimal
n=3
cols={
 'b':pa.array([True,None,False]),
 'i8':pa.array([1,-2,None],pa.int8()),'i16':pa.array([1,-2,None],pa.int16()),'i32':pa.array([1,-2,3],pa.int32()),'i64':pa.array([1,None,2**62],pa.int64()),
 'u8':pa.array([1,255,None],pa.uint8()),'u16':pa.array([1,65535,None],pa.uint16()),'u32':pa.array([1,2**32-1,None],pa.uint32()),'u64':pa.array([1,2**64-1,None],pa.uint64()),
 'f16':pa.array([1.5,-0.25,None],pa.float16()) if False else None,
 'f32':pa.array([1.5,-0.25,None],pa.float32()),'f64':pa.array([1.5,None,1e300],pa.float64()),
 's':pa.array(['a',None,'é日本']),'ls':pa.array(['a',None,'é'],pa.large_string()),'sv':pa.array(['short',None,'a string longer than twelve'],pa.string_view()),
 'bin':pa.array([b'a',None,b'\xff'],pa.binary()),'fb':pa.array([b'ab',None,b'\xff\x00'],pa.binary(2)),
 'dec':pa.array([d('1.50'),d('-99.99'),None],pa.decimal128(10,2)),'wide':pa.array([d('1.5'),d('-12345678901234567890123.5'),None],pa.decimal128(38,1)),
 'd256':pa.array([d('1.5'),d('-2.5'),None],pa.decimal256(20,1)),
 'date':pa.array([datetime.date(2026,1,2),None,datetime.date(1960,1,1)]),'d64':pa.array([datetime.date(2026,1,2),None,datetime.date(1960,1,1)],pa.date64()),
 'ts':pa.array([datetime.datetime(2026,1,2,3,4,5,6),None,datetime.datetime(1960,1,1)],pa.timestamp('us','UTC')),
 'tns':pa.array([1500,None,-1],pa.timestamp('ns')),'tsec':pa.array([15,None,-1],pa.timestamp('s','UTC')),
 'time':pa.array([datetime.time(1,2,3),None,datetime.time(0)],pa.time64('us')),'dur':pa.array([1,None,3],pa.duration('s')),
 'l':pa.array([[1,None],None,[]],pa.list_(pa.int64())),'ll':pa.array([['x'],None,['y','z']],pa.large_list(pa.string())),
 'fl':pa.array([[1,2],None,[3,4]],pa.list_(pa.int32(),2)),
 'st':pa.array([{'x':1,'y':'p'},None,{'x':None,'y':'q'}],pa.struct([('x',pa.int64()),('y',pa.string())])),
 'm':pa.array([[('k',1)],None,[('a',None),('b',2)]],pa.map_(pa.string(),pa.int64())),
 'dict':pa.array(['one',None,'two']).dictionary_encode(),
 'ls2':pa.array([[{'q':[1]}],None,[{'q':None},None,{'q':[2,3]}]],pa.list_(pa.struct([('q',pa.list_(pa.int64()))]))),
 'nul':pa.nulls(3),
}
cols={k:v for k,v in cols.items() if v is not None}
t=pa.table(cols)
for name,o in {'plain':None,'lz4':'lz4','zstd':'zstd'}.items():
    with pa.OSFile(f'{sys.argv[1]}/every-{name}.arrows','wb') as f, ipc.new_stream(f,t.schema,options=ipc.IpcWriteOptions(compression=o)) as w:
        w.write_table(t); w.write_table(t.slice(1,2))
# delta dictionaries, several batches
s=pa.schema([('c',pa.dictionary(pa.int8(),pa.string())),('n',pa.int32())])
with pa.OSFile(f'{sys.argv[1]}/delta.arrows','wb') as f, ipc.new_stream(f,s,options=ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as w:
    w.write_batch(pa.record_batch([pa.DictionaryArray.from_arrays(pa.array([0,1,0],pa.int8()),pa.array(['a','b'])),pa.array([1,2,3],pa.int32())],schema=s))
    w.write_batch(pa.record_batch([pa.DictionaryArray.from_arrays(pa.array([2,1,None],pa.int8()),pa.array(['a','b','c'])),pa.array([4,5,6],pa.int32())],schema=s))
