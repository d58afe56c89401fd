/** A table of furiwake in nftables that may not be in force. */
export type TableOutage = {
  /**
   * Why, of nft: another program has changed the table, and it could not be restored twice. `undefined`: it is in force, as far as is
   * known.
   */
  words(): string | undefined;
  /** Calls `listener` after each change of `words`; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
};

/** A table of furiwake in nftables: what a pass, the audits and the end do with it, whatever packets do in it. */
export type HostTable = {
  readonly outage: TableOutage;
  /** Reads back the kernel's state and repairs it; returns the number of repairs. */
  audit(signal: AbortSignal): Promise<number>;
  /**
   * Less than an audit, for the time between two of them: its cost does not grow with the number of listeners. It reads chains and rules,
   * and no elements; if those differ, it is an audit.
   */
  check(signal: AbortSignal): Promise<number>;
  /** Until `signal` aborts: follows what the table depends on, and reverts external changes to it at once. */
  run(signal: AbortSignal): Promise<void>;
  /** The links of the host, or else what the table depends on there, may have changed: it follows at once. */
  noteFacts(): void;
  /** Removes the table, with what belongs to it on the host. Resolves with whether there was one. */
  remove(signal: AbortSignal): Promise<boolean>;
};
