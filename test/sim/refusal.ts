/** A request that the simulated server refuses, as metav1.Status. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code = 'REFUSED';
  readonly status: number;
  readonly reason: string;
  readonly causes: readonly object[];
  readonly retryAfterSeconds: number | undefined;
  constructor(
    status: number,
    reason: string,
    message: string,
    { causes = [], retryAfterSeconds }: { causes?: readonly object[]; retryAfterSeconds?: number | undefined } = {},
  ) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.causes = causes;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** metav1.Status. */
  toJSON(): object {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      details: {
        ...(this.causes.length === 0 ? {} : { causes: this.causes }),
        ...(this.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: this.retryAfterSeconds }),
      },
      code: this.status,
    };
  }
}

export function expired(): Refusal {
  return new Refusal(410, 'Expired', 'too old resource version');
}

export function notFound(what: string): Refusal {
  return new Refusal(404, 'NotFound', `${what} not found`);
}

export function conflict(what: string, why: string): Refusal {
  return new Refusal(409, 'Conflict', `Operation cannot be fulfilled on ${what}: ${why}`);
}

export function invalid(message: string, field?: string): Refusal {
  const causes = field === undefined ? [] : [{ reason: 'FieldValueInvalid', message, field }];
  return new Refusal(422, 'Invalid', message, { causes });
}
