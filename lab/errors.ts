export type LabErrorCode =
  | 'BAD_OPTION'
  | 'BUILD_FAILED'
  | 'INTERRUPTED'
  | 'LAB_BUSY'
  | 'LEFTOVERS'
  | 'NEEDS_ROOT'
  | 'NO_SUCH_LAB'
  | 'NO_SUCH_PART'
  | 'PACKAGES_MISSING'
  | 'PART_ENDED'
  | 'TIMED_OUT'
  | 'WRONG_SUM';

/** An error of the lab itself, with a message for the user; `hint` is a remedy. */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code: LabErrorCode;
  readonly hint: string | undefined;
  constructor(code: LabErrorCode, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }
}
