/** For `expect.poll`, `vi.waitFor` and `vi.waitUntil`: a busy machine needs far longer than their default of a second. */
export const patience = { timeout: 60_000, interval: 20 };
