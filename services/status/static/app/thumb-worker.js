/** Fetches a picture and makes it small, apart from the page: see thumb.js. */

/** Answers `{src, height}` with `{small}`, or with `{redirected}` where that is why there is none. */
onmessage = async ({ data: { src, height } }) => {
  try {
    const answer = await fetch(src, { redirect: "manual" });
    if (!answer.ok) return postMessage({ redirected: answer.type === "opaqueredirect" });
    const small = await createImageBitmap(await answer.blob(), { resizeHeight: height, resizeQuality: "medium" });
    postMessage({ small }, [small]);
  } catch {
    postMessage({});
  }
};
