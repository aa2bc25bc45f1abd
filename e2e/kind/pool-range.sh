#!/usr/bin/env bash
# pool-range.sh SUBNET: forty addresses near the end of an IPv4 subnet, where Docker, which counts from its beginning, hands out none.
set -euo pipefail

subnet=${1:?say a subnet, such as 172.18.0.0/16}
[[ $subnet =~ ^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})/([0-9]{1,2})$ ]] ||
    { echo "$subnet is not an IPv4 subnet" >&2; exit 1; }
read -r a b c d bits <<<"${BASH_REMATCH[*]:1}"
# Of a smaller one a third and more would be the pool.
((10#$bits >= 8 && 10#$bits <= 25)) || { echo "$subnet: a prefix from /8 to /25 has room for a pool" >&2; exit 1; }
last=$(((10#$a << 24 | 10#$b << 16 | 10#$c << 8 | 10#$d) | ((1 << (32 - 10#$bits)) - 1)))

dotted() { echo "$(($1 >> 24 & 255)).$(($1 >> 16 & 255)).$(($1 >> 8 & 255)).$(($1 & 255))"; }
echo "$(dotted $((last - 55)))-$(dotted $((last - 16)))"
