# A task: what is wanted, by kind.
set -eu

printf 'The shop in %s, with prices in %s\n' "$SHOP_REGION" "$SHOP_CURRENCY"
while read -r address kind rest; do
  case $address in '#'* | '') continue ;; esac
  printf '  %-10s %-16s %s\n' "$kind" "$address" "$rest"
done < wanted.txt | sort
