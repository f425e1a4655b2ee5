# Goes from live.txt to wanted.txt. Here it only says so; a real one would call the provider.
set -eu

while read -r address kind rest; do
  case $address in '#'* | '') continue ;; esac
  printf '\033[32m✓\033[0m %-16s %-10s %s\n' "$address" "$kind" "$rest"
  sleep 0.1
done < wanted.txt
printf 'The shop in %s is as wanted\n' "$SHOP_REGION"
