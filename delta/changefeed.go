package delta

// changeFeedProperty is the table property that asks writers for change files.
const changeFeedProperty = "delta.enableChangeDataFeed"
