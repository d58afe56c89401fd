/** For `expect.poll` and `vi.waitUntil`: a busy machine needs longer than their default of a second. */
export const patience = { timeout: 15_000, interval: 20 };
