"""delta-rs' part of the merge benchmark: merge.py TABLE SOURCE. Prints a JSON object."""

import json
import os
import sys

import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder

table = DeltaTable(sys.argv[1])
before = set(os.listdir(sys.argv[1]))
result = (
    table.merge(pq.read_table(sys.argv[2]), "s.id = t.id", source_alias="s", target_alias="t")
    .when_matched_update_all("s.seq >= t.seq")
    .when_not_matched_insert_all()
    .execute()
)
new = set(os.listdir(sys.argv[1])) - before
log = os.path.join(sys.argv[1], "_delta_log", f"{table.version():020d}.json")
query = "select count(*) as n, sum(seq) as s from t"
row = QueryBuilder().register("t", table).execute(query).read_all()
print(json.dumps({
    "Updated": result["num_target_rows_updated"],
    "Inserted": result["num_target_rows_inserted"],
    "FilesAdded": result["num_target_files_added"],
    "Removed": result["num_target_files_removed"],
    "Bytes": sum(os.path.getsize(os.path.join(sys.argv[1], f)) for f in new) + os.path.getsize(log),
    "Rows": row["n"][0].as_py(),
    "Sum": row["s"][0].as_py(),
}))
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out sometimes aborts in a thread of pyarrow
