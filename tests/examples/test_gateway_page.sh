#!/bin/bash
# test_gateway_page.sh URL: try the gateway's page in headless Chromium, through its debugging protocol: call a unary
# and a streaming method by their buttons, and check that the console has no error.
set -uo pipefail
export LC_ALL=C
url=$1
scratch=$(mktemp -d)
mkfifo "$scratch/to" "$scratch/from"
chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$scratch/profile" \
    --remote-debugging-pipe about:blank 3<"$scratch/to" 4>"$scratch/from" >"$scratch/log" 2>&1 &
browser=$!
trap 'kill -9 $browser 2>/dev/null; wait $browser 2>/dev/null; rm -rf "$scratch"' EXIT
exec 5>"$scratch/to" 6<"$scratch/from"
events=$scratch/events
: >"$events"

# ask ID METHOD PARAMETERS [SESSION]: send a message and set $answer to its answer; other messages go to $events.
ask()
{
    printf '{"id":%d,"method":"%s","params":%s%s}\0' "$1" "$2" "$3" "${4:+,\"sessionId\":\"$4\"}" >&5
    while IFS= read -r -d '' -t 60 answer <&6; do
        case $answer in
        "{\"id\":$1,"*) return 0 ;;
        *) printf '%s\n' "$answer" >>"$events" ;;
        esac
    done
    echo "test_gateway_page: no answer to $2: $(tail -5 "$scratch/log")"
    exit 1
}
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$answer"; }

ask 1 Target.createTarget '{"url":"about:blank"}'
ask 2 Target.attachToTarget "{\"targetId\":\"$(field targetId)\",\"flatten\":true}"
session=$(field sessionId)
ask 3 Runtime.enable '{}' "$session"
ask 4 Log.enable '{}' "$session"
ask 5 Page.enable '{}' "$session"
ask 6 Page.navigate "{\"url\":\"$url/\"}" "$session"
script='(async () => {
  for (let i = 0; document.querySelectorAll("section").length < 4; i++) {
    if (i > 500) return "no sections";
    await new Promise(done => setTimeout(done, 20));
  }
  const found = [];
  for (const name of ["grpcdemo.GrpcDemo.CallGrpcGateway POST /v1/call",
                      "grpcdemo.GrpcDemo.FetchData POST /grpcdemo.GrpcDemo/FetchData"]) {
    const section = document.getElementById(name);
    const output = section.querySelector("pre");
    section.querySelector("button").click();
    for (let i = 0; !output.textContent.includes("}\n") && !/^200\n.*\}/.test(output.textContent); i++) {
      if (i > 500) return "no answer: " + output.textContent;
      await new Promise(done => setTimeout(done, 20));
    }
    found.push(output.textContent);
  }
  return found.join("|");
})()'
script=$(sed 's/\\/\\\\/g; s/"/\\"/g' <<<"$script" | tr '\n' ' ')
ask 7 Runtime.evaluate "{\"expression\":\"$script\",\"awaitPromise\":true,\"returnByValue\":true}" "$session"
status=0
case $answer in
*'200\n{\"config\":{\"name\":\"\"}}|200\n{\"result\":{\"favBook\":\"Structure'*) ;;
*) echo "test_gateway_page: $answer"; status=1 ;;
esac
ask 8 Runtime.evaluate '{"expression":"1"}' "$session" # what the console has by now has arrived
if grep -E '"method":"Runtime.exceptionThrown"|"type":"error"|"level":"error"' "$events"; then
    echo "test_gateway_page: the console has errors"
    status=1
fi
[ $status -ne 0 ] || echo "test_gateway_page: ok"
exit $status
