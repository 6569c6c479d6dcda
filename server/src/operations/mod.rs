//! One module per verb: takes a typed request, asks the store, decides with the domain, answers with a value or an `ApiError`.
