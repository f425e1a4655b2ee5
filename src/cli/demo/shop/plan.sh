# Compares wanted.txt with live.txt, tells people, and writes the changes for Airlock.
# Exit code 0: nothing to do. 2: changes.
set -eu

added=0 changed=0 replaced=0 deleted=0 separator=

# The line of an address in a file, without the address; nothing when it is not there.
line_of() {
  while read -r address rest; do
    if [ "$address" = "$2" ]; then printf '%s' "$rest"; return; fi
  done < "$1"
}

# `kind name=value…` as a JSON object, or null.
json() {
  [ -n "$1" ] || { printf null; return; }
  kind=${1%% *} comma=
  printf '{'
  for pair in ${1#"$kind"}; do
    printf '%s"%s":"%s"' "$comma" "${pair%%=*}" "${pair#*=}"
    comma=,
  done
  [ "$kind" != database ] || printf ',"password":"%s"' "$SHOP_DB_PASSWORD"
  printf '}'
}

# action sign address before after
change() {
  line=${5:-$4}
  kind=${line%% *} sensitive=
  [ "$kind" != database ] || sensitive=',"sensitive":["/password"]'
  printf '  %s %s\n' "$2" "$3"
  printf '%s{"address":"%s","type":"%s","action":"%s","before":%s,"after":%s%s}' \
    "$separator" "$3" "$kind" "$1" "$(json "$4")" "$(json "$5")" "$sensitive" >> "$AIRLOCK_PLAN_FILE"
  separator=,
}

printf 'Asking the provider in %s, with the token %s\n' "$SHOP_REGION" "$SHOP_TOKEN"
printf '[' > "$AIRLOCK_PLAN_FILE"
change read '<' provider.prices '' "price_list region=$SHOP_REGION"

while read -r address wanted; do
  case $address in '#'* | '') continue ;; esac
  live=$(line_of live.txt "$address")
  if [ -z "$live" ]; then
    added=$((added + 1)); change create + "$address" '' "$wanted"
  elif [ "$(echo $live)" = "$(echo $wanted)" ]; then
    continue
  elif [ "${wanted#database}" != "$wanted" ]; then
    replaced=$((replaced + 1)); change replace '±' "$address" "$live" "$wanted"
  else
    changed=$((changed + 1)); change update '~' "$address" "$live" "$wanted"
  fi
done < wanted.txt

while read -r address live; do
  case $address in '#'* | '') continue ;; esac
  [ -z "$(line_of wanted.txt "$address")" ] || continue
  deleted=$((deleted + 1)); change delete - "$address" "$live" ''
done < live.txt

printf ']' >> "$AIRLOCK_PLAN_FILE"
printf '\n\033[1mPlan:\033[0m %d to add, %d to change, %d to replace, %d to delete\n' \
  $added $changed $replaced $deleted
[ $((added + changed + replaced + deleted)) = 0 ] || exit 2
