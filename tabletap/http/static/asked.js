// Requests that move money: each has a key, kept (over a reload, too) until the server has answered for certain. Asked
// again after a lost answer, the same thing is carried out once.
import { ApiError, api, store, uuid } from "./common.js";

const session = store("session");
const KEY = "tabletap:asked";

/** POST `body`; the answer. Throws ApiError: when it is `unsure`, asking the same again is safe. */
export async function ask(path, body, token) {
  const what = `${path} ${JSON.stringify(body)}`;
  const key = session.get(KEY, {})[what] ?? uuid();
  keep(what, key);
  try {
    const answer = await api(path, { method: "POST", token, body, key });
    keep(what, null);
    return answer;
  } catch (error) {
    if (!(error instanceof ApiError && error.unsure)) keep(what, null);
    throw error;
  }
}

function keep(what, key) {
  const { [what]: _, ...others } = session.get(KEY, {});
  session.set(KEY, key === null ? others : { ...others, [what]: key });
}
