\set aid random(1, 100000)
\startpipeline
select abalance from pgbench_accounts where aid = :aid;
select count(*) from pgbench_branches;
select repeat('x', 3000) from generate_series(1, 30);
select abalance from pgbench_accounts where aid = :aid;
\endpipeline
