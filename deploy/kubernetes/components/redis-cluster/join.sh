#!/bin/sh
# Make a cluster of the pods of redis-cluster, once; a cluster that is there is left as it is.
set -eu
pods=""
for i in 0 1 2 3 4 5; do
  host="redis-cluster-$i.redis-cluster"
  until redis-cli -h "$host" ping | grep -q PONG; do
    echo "waiting for $host"
    sleep 2
  done
  pods="$pods $(getent hosts "$host" | cut -d' ' -f1):6379"
done
# Who knows others was joined before, though it may still be finding out who is there.
known=$(redis-cli -h redis-cluster-0.redis-cluster cluster info | tr -d '\r' | sed -n 's/^cluster_known_nodes://p')
if [ "$known" -gt 1 ]; then
  echo "the cluster is there"
  exit 0
fi
# shellcheck disable=SC2086
exec redis-cli --cluster create $pods --cluster-replicas 1 --cluster-yes
